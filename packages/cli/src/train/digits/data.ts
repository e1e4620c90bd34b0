import { NanoFluxError } from "@nf/core";
import { embeddedMnist } from "@nf/data";
import { mnist } from "@nf/data/node";
import { CliError } from "../../errors.ts";
import type { DataName } from "../../options.ts";

/** Images to train with and images to test with. */
export type Splits = Awaited<ReturnType<typeof embeddedMnist>>;

/** Mean and standard deviation of MNIST's training pixels, which both sets are normalised with. */
const normalize = { mean: 0.1307, std: 0.3081 } as const;

/** Value of a pixel without ink. */
export const BACKGROUND: number = -normalize.mean / normalize.std;

/**
 * Loads the digits.
 *
 * @param download whether what is missing may be fetched
 * @param note is told of a download
 * @throws CliError for full MNIST that is not on this machine, saying how to get it
 */
export async function loadDigits(
  name: DataName,
  download: boolean,
  signal: AbortSignal,
  note: (line: string) => void,
): Promise<Splits> {
  if (name === "embedded") return embeddedMnist({ normalize });
  let last = "";
  try {
    return await mnist({
      normalize,
      download,
      signal,
      onProgress: ({ url }) => {
        if (url !== last) note(`downloading ${url}`);
        last = url;
      },
    });
  } catch (error) {
    if (!(error instanceof NanoFluxError) || download) throw error;
    throw new CliError(`${error.message}\nOn the command line: add --download, or set NF_DATA_DIR.`, {
      cause: error,
    });
  }
}
