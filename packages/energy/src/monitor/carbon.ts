import { checkNumber, checkOptions, OptionError } from "@nf/core";

/**
 * Carbon intensity of electricity in 2023 in grams of CO2 equivalents a kilowatt-hour, by ISO 3166 code and for the
 * world: Ember and Energy Institute, as processed by Our World in Data ("Carbon intensity of electricity generation").
 */
export const CARBON_INTENSITY = {
  world: 481,
  AT: 111,
  AU: 549,
  BE: 138,
  BR: 98,
  CA: 170,
  CN: 582,
  CZ: 450,
  DE: 381,
  DK: 152,
  FI: 79,
  FR: 56,
  GB: 238,
  GR: 337,
  HU: 204,
  IE: 291,
  IN: 713,
  NO: 30,
  PL: 662,
  SE: 41,
  US: 369,
} as const;

/** A region that {@link CARBON_INTENSITY} knows. */
export type Region = keyof typeof CARBON_INTENSITY;

/** Options of {@link carbon}: a region, or a figure of one's own. */
export interface CarbonOptions {
  /** Default `world`. */
  readonly region?: Region;
  /** Grams of CO2 equivalents a kilowatt-hour, in the place of a region's. */
  readonly gramsPerKilowattHour?: number;
}

const JOULES_PER_KILOWATT_HOUR = 3.6e6;

/**
 * Grams of CO2 equivalents that go with electrical energy.
 *
 * @param joules energy, at least 0: of the machine, so an estimate that is of arithmetic alone gives a lower bound.
 * @throws OptionError for a region that is not known, and where both a region and a figure are given.
 */
export function carbon(joules: number, options: CarbonOptions = {}): number {
  checkNumber("carbon", "joules", joules, 0);
  checkOptions("carbon", options, ["region", "gramsPerKilowattHour"]);
  const { region, gramsPerKilowattHour } = options;
  if (region !== undefined && gramsPerKilowattHour !== undefined)
    throw new OptionError("carbon: give a region or gramsPerKilowattHour, not both.");
  const grams = gramsPerKilowattHour ?? intensityOf(region ?? "world");
  checkNumber("carbon", "gramsPerKilowattHour", grams, 0);
  return (joules / JOULES_PER_KILOWATT_HOUR) * grams;
}

function intensityOf(region: Region): number {
  if (!Object.hasOwn(CARBON_INTENSITY, region)) {
    throw new OptionError(
      `carbon: region must be one of ${Object.keys(CARBON_INTENSITY).join(", ")}, got ${String(region)}. For another, give gramsPerKilowattHour.`,
    );
  }
  return CARBON_INTENSITY[region];
}
