import { toPng } from "@nf/train/curves";
import { messageOf } from "../errors.ts";
import type { RunFolder } from "./folder.ts";

/** A name without an ending, and what it shows. */
export type Picture = readonly [name: string, svg: string];

/**
 * Writes pictures, as SVG and PNG.
 *
 * @param note is told when the PNG renderer does not work on this machine; the SVG files are there then
 */
export async function writePictures(
  folder: RunFolder,
  pictures: readonly Picture[],
  note: (line: string) => void,
): Promise<void> {
  for (const [name, svg] of pictures) {
    await folder.write(`${name}.svg`, svg);
    let png: Uint8Array;
    try {
      png = await toPng(svg);
    } catch (error) {
      note(`${name}.png is left out, the renderer does not work here: ${messageOf(error)}`);
      continue;
    }
    await folder.write(`${name}.png`, png);
  }
}
