import { beamSearch, greedySearch, type Transformer } from "@nf/models";

/** Ids of the best sequence for each source. */
export async function decode(
  model: Transformer,
  sources: readonly (readonly number[])[],
  beams: number,
  suppress: readonly number[] = [],
): Promise<readonly (readonly number[])[]> {
  const { maxPositions } = model.config;
  const options = { suppress, maxLength: maxPositions };
  if (beams === 1) return (await greedySearch(model, sources, options)).map(({ tokens }) => tokens);
  return (await beamSearch(model, sources, { ...options, beams })).map(([best]) => best?.tokens ?? []);
}
