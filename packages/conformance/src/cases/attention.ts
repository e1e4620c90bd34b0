import type { AttentionOptions, RopeOptions, Tensor } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Operand, Row } from "../model.ts";
import type { Nd } from "../reference/nd.ts";
import * as reference from "../reference/nd.ts";
import { between, data, edge, mask, optionsText, row, shapesText } from "./define.ts";

const FAMILY = "attention";

interface Setup {
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  readonly causal: boolean;
  readonly mask: "none" | "bool" | "float";
  readonly scale?: number;
}

/** Query by query: scores with the keys it may see, softmax, mean of the values. Nothing to see gives zeros. */
function attend(
  q: Nd,
  k: Nd,
  v: Nd,
  masking: Nd | undefined,
  { causal, mask: kind, scale, heads, kvHeads }: Setup,
): Nd {
  const [batch, , queries, headDim] = q.shape as [number, number, number, number];
  const [keys, width] = v.shape.slice(2) as [number, number];
  const shape = [batch, heads, queries, width];
  const wide =
    masking === undefined ? undefined : reference.broadcastTo(masking, [batch, heads, queries, keys]);
  const factor = scale ?? 1 / Math.sqrt(headDim);
  const weights = new Map<string, number[]>();
  const weightsOf = (n: number, h: number, i: number): number[] => {
    const key = `${n} ${h} ${i}`;
    const known = weights.get(key);
    if (known !== undefined) return known;
    const shared = Math.floor(h / (heads / kvHeads));
    const query = reference.position(q.shape, [n, h, i, 0]);
    const scores = Array.from({ length: keys }, (_, j) => {
      if (causal && j - i > keys - queries) return -Infinity;
      const given = wide === undefined ? 0 : reference.at(wide, [n, h, i, j]);
      if (kind === "bool" && given === 0) return -Infinity;
      const other = reference.position(k.shape, [n, shared, j, 0]);
      let product = 0;
      for (let d = 0; d < headDim; d++) product += q.data[query + d]! * k.data[other + d]!;
      return product * factor + (kind === "float" ? given : 0);
    });
    const top = Math.max(...scores, -Infinity);
    const powers = scores.map((score) => (score === -Infinity ? 0 : Math.exp(score - top)));
    const total = reference.sum(powers);
    const result = powers.map((power) => (total === 0 ? 0 : power / total));
    weights.set(key, result);
    return result;
  };
  return reference.build(shape, ([n, h, i, d]) => {
    const shared = Math.floor(h! / (heads / kvHeads));
    const first = reference.position(v.shape, [n!, shared, 0, d!]);
    return reference.sum(
      weightsOf(n!, h!, i!).map((weight, j) => (weight === 0 ? 0 : weight * v.data[first + j * width]!)),
    );
  });
}

function instanceOf(setup: Setup): Instance {
  const { batch, heads, kvHeads, queries, keys, headDim, causal, scale } = setup;
  const shapes = [
    [batch, heads, queries, headDim],
    [batch, kvHeads, keys, headDim],
    [batch, kvHeads, keys, headDim],
  ];
  const maskShape = [queries, keys];
  const masks: Operand[] =
    setup.mask === "none" ? [] : [setup.mask === "bool" ? mask(maskShape) : data(maskShape)];
  const options = { ...(causal && { causal }), ...(scale !== undefined && { scale }) };
  return {
    label: `${shapesText(...shapes)} mask ${setup.mask}${optionsText(options)}`,
    operands: [...shapes.map((shape) => data(shape)), ...masks],
    // The sums of scores, of weights, and of values.
    chain: headDim + 2 * keys,
    run: ([q, k, v, m]) =>
      nf.scaledDotProductAttention(q!, k!, v!, { ...options, ...(m !== undefined && { mask: m }) }),
    reference: ([q, k, v, m]) => attend(q!, k!, v!, m, setup),
  };
}

function attentionRow(): Row {
  const plain: Setup = {
    batch: 1,
    heads: 1,
    kvHeads: 1,
    queries: 3,
    keys: 3,
    headDim: 4,
    causal: false,
    mask: "none",
  };
  const anySetup = fc.record({
    batch: between(1, 2),
    kvHeads: between(1, 2),
    share: between(1, 2),
    queries: between(1, 3),
    keys: between(1, 4),
    headDim: between(1, 4),
    causal: fc.boolean(),
    mask: fc.constantFrom("none" as const, "bool" as const, "float" as const),
    scaled: fc.boolean(),
  });
  const causal =
    (options: AttentionOptions) =>
    ([q, k, v]: readonly Tensor[]): Tensor =>
      nf.scaledDotProductAttention(q!, k!, v!, options);
  const four = (rows: readonly number[]): Nd => reference.nd([1, 1, rows.length, 1], rows);
  return row(FAMILY, {
    op: "scaledDotProductAttention",
    kernels: ["matmul", "reduce"],
    tolerance: "composed",
    instances: [
      instanceOf(plain),
      instanceOf({ ...plain, causal: true }),
      instanceOf({ ...plain, batch: 2, heads: 4, kvHeads: 2, causal: true }),
      instanceOf({ ...plain, queries: 2, keys: 5, causal: true }),
      instanceOf({ ...plain, queries: 4, keys: 2, causal: true }),
      instanceOf({ ...plain, heads: 2, kvHeads: 2, mask: "bool" }),
      instanceOf({ ...plain, heads: 2, kvHeads: 1, mask: "float", scale: 0.3 }),
      instanceOf({ ...plain, mask: "bool", causal: true, batch: 2 }),
      instanceOf({ ...plain, queries: 1, keys: 1, headDim: 1 }),
    ],
    large: [
      instanceOf({ ...plain, queries: 33, keys: 70, headDim: 72, causal: true }),
      instanceOf({ ...plain, heads: 4, kvHeads: 2, queries: 17, keys: 65, headDim: 33, mask: "bool" }),
      instanceOf({ ...plain, heads: 2, queries: 1, kvHeads: 2, keys: 130, headDim: 64 }),
    ],
    arbitrary: anySetup.map(({ share, scaled, ...rest }) =>
      instanceOf({ ...rest, heads: rest.kvHeads * share, ...(scaled && { scale: 0.5 }) }),
    ),
    edges: [
      edge(
        "a row with nothing to attend to gives zeros, and gradient 0",
        causal({ causal: true }),
        [four([1, 2]), four([3]), four([5])],
        [0, 5],
        { grads: [[0, 0], [0], [1]] },
      ),
      edge("scores of ±1e4", causal({ scale: 1 }), [four([100]), four([100, -100]), four([1, 2])], [1]),
      edge("NaN spreads", causal({}), [four([NaN]), four([1, 2]), four([1, 2])], [NaN]),
    ],
  });
}

function ropeRow(): Row {
  type Given = RopeOptions & { readonly cached?: boolean };
  const frequencies = (headDim: number, { base = 10000, scaling }: RopeOptions): number[] =>
    Array.from({ length: headDim / 2 }, (_, pair) => {
      const frequency = base ** ((-2 * pair) / headDim);
      if (scaling === undefined) return frequency;
      if (scaling.type === "linear") return frequency / scaling.factor;
      const {
        lowFrequencyFactor: low = 1,
        highFrequencyFactor: high = 4,
        originalContext = 8192,
        factor,
      } = scaling;
      const length = (2 * Math.PI) / frequency;
      if (length < originalContext / high) return frequency;
      if (length > originalContext / low) return frequency / factor;
      const smooth = (originalContext / length - low) / (high - low);
      return ((1 - smooth) * frequency) / factor + smooth * frequency;
    });
  const instance = (x: readonly number[], { cached, ...options }: Given): Instance => {
    const [positions, headDim] = x.slice(-2) as [number, number];
    const { interleaved = false, offset = 0 } = options;
    return {
      label: shapesText(x) + optionsText({ ...options, ...(cached && { cached }) }),
      operands: [data(x)],
      // An angle is a position times a frequency, and its rounding is one of all its turns.
      roundings: positions + offset - 1,
      run: ([input], dtype) => {
        if (cached !== true) return nf.rope(input!, options);
        const { base, scaling, ...rest } = options;
        const tables = nf.ropeTables(offset + positions, headDim, {
          dtype: dtype === "f64" ? "f64" : "f32",
          ...(base !== undefined && { base }),
          ...(scaling !== undefined && { scaling }),
        });
        return nf.rope(input!, { ...rest, tables });
      },
      reference: ([input]) => {
        const angles = frequencies(headDim, options);
        const half = headDim / 2;
        return reference.build(x, (index) => {
          const element = index.at(-1)!;
          const pair = interleaved ? Math.floor(element / 2) : element % half;
          const isFirst = interleaved ? element % 2 === 0 : element < half;
          const other = interleaved
            ? isFirst
              ? element + 1
              : element - 1
            : isFirst
              ? element + half
              : element - half;
          const angle = (index.at(-2)! + offset) * angles[pair]!;
          const own = reference.at(input!, index);
          const partner = reference.at(input!, [...index.slice(0, -1), other]);
          return own * Math.cos(angle) + (isFirst ? -partner : partner) * Math.sin(angle);
        });
      },
    };
  };
  const llama = { type: "llama3", factor: 8, originalContext: 64 } as const;
  const any = fc
    .record({
      lead: fc.array(between(1, 2), { maxLength: 2 }),
      positions: between(1, 4),
      half: between(1, 3),
      interleaved: fc.boolean(),
      offset: between(0, 9),
      cached: fc.boolean(),
    })
    .map(({ lead, positions, half, ...options }) => instance([...lead, positions, 2 * half], options));
  return row(FAMILY, {
    op: "rope",
    also: ["ropeTables", "ropeFrequencies"],
    tolerance: "composed",
    instances: [
      instance([3, 4], {}),
      instance([3, 4], { interleaved: true }),
      instance([2, 2, 5, 6], { offset: 7 }),
      instance([4, 8], { base: 100, scaling: { type: "linear", factor: 2 } }),
      instance([5, 8], { scaling: llama, interleaved: true }),
      instance([2, 3, 4], { cached: true, offset: 2 }),
      instance([1, 2], {}),
    ],
    large: [instance([70, 72], {}), instance([3, 33, 34], { interleaved: true, offset: 5 })],
    arbitrary: any,
  });
}

/** Attention and the positions it knows. */
export function attentionRows(): readonly Row[] {
  return [attentionRow(), ropeRow()];
}
