import { type Files, reasonOf } from "./platform.ts";

/** A counter of energy: one package, that is one processor with all its cores. */
export interface Zone {
  /** File with microjoules. */
  readonly energy: string;
  /** Where the counter wraps around, in microjoules. */
  readonly range: number;
}

/** Zones of packages; their parts (`intel-rapl:0:1`) are in them already, and a zone of the platform holds them too. */
const PACKAGE_FOLDER = /^intel-rapl:\d+$/;
const PACKAGE_NAME = /^package-\d+/;

/** Microjoules in a file, or why they cannot be read. */
export function counterOf(files: Files, path: string): number | string {
  try {
    const text = files.read(path).trim();
    return /^\d+$/.test(text) ? Number(text) : `${path} holds no number`;
  } catch (error) {
    return `${path} cannot be read (${reasonOf(error)}); often only root may`;
  }
}

/** The counters of a machine's packages, or why there are none that can be read. */
export function packageZones(files: Files, folder: string): readonly Zone[] | string {
  let names: readonly string[];
  try {
    names = files.list(folder);
  } catch {
    return `there is no ${folder}: the system shows no energy counters`;
  }
  const zones: Zone[] = [];
  for (const name of names.filter((one) => PACKAGE_FOLDER.test(one))) {
    const at = `${folder}/${name}`;
    try {
      if (!PACKAGE_NAME.test(files.read(`${at}/name`).trim())) continue;
      const range = counterOf(files, `${at}/max_energy_range_uj`);
      if (typeof range === "string") return range;
      const energy = `${at}/energy_uj`;
      const now = counterOf(files, energy);
      if (typeof now === "string") return now;
      zones.push({ energy, range });
    } catch (error) {
      return `${at} cannot be read (${reasonOf(error)}); often only root may`;
    }
  }
  return zones.length === 0 ? `${folder} has no counters of a processor` : zones;
}
