import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { gzipSync } from "node:zlib";
import { type ExampleSpec, runExample } from "./example.ts";

/** What an example's command did. */
export interface Called {
  readonly code: number;
  /** Standard output. */
  readonly out: string;
  /** Standard error. */
  readonly err: string;
  /** The folder that it ran in, made for it. */
  readonly cwd: string;
}

/** Runs an example's command in a folder of its own, for tests. */
export async function callExample<Own extends object>(
  spec: ExampleSpec<Own>,
  args: readonly string[],
  signal: AbortSignal = new AbortController().signal,
): Promise<Called> {
  const text = { out: "", err: "" };
  const into = (name: "out" | "err") =>
    new Writable({
      write(chunk, _encoding, done) {
        text[name] += String(chunk);
        done();
      },
    });
  const cwd = mkdtempSync(join(tmpdir(), "nf-example-"));
  const code = await runExample(spec, args, { stdout: into("out"), stderr: into("err"), signal, cwd });
  return { code, ...text, cwd };
}

/** A gzipped IDX file of bytes. */
function idx(shape: readonly number[], value: (index: number) => number): Uint8Array {
  const size = shape.reduce((a, b) => a * b, 1);
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, 8, shape.length]);
  for (const [axis, length] of shape.entries()) header.writeUInt32BE(length, 4 + 4 * axis);
  return gzipSync(Buffer.concat([header, Uint8Array.from({ length: size }, (_, i) => value(i))]));
}

/**
 * Makes a folder for `NF_DATA_DIR` with a collection in MNIST's layout: 28 by 28 pixels, two lit rows at a height that is
 * the class. What learns anything learns these soon.
 */
export function picturesFolder(collection: "mnist" | "fashion-mnist", train: number, test: number): string {
  const folder = mkdtempSync(join(tmpdir(), "nf-pictures-"));
  mkdirSync(join(folder, collection));
  for (const [part, count] of [
    ["train", train],
    ["t10k", test],
  ] as const) {
    const pixel = (i: number): number => {
      const [image, row] = [Math.floor(i / 784), Math.floor((i % 784) / 28)];
      return Math.floor(row / 2) === (image % 10) + 2 ? 200 + ((i * 7) % 55) : 0;
    };
    const write = (kind: string, bytes: Uint8Array): void =>
      writeFileSync(join(folder, collection, `${part}-${kind}-ubyte.gz`), bytes);
    write("images-idx3", idx([count, 28, 28], pixel));
    write(
      "labels-idx1",
      idx([count], (i) => i % 10),
    );
  }
  return folder;
}
