import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { packTar } from "modern-tar";
import { afterEach, beforeEach, expect, vi } from "vitest";

/** A DataError of a message. */
export const data = (message: string | RegExp): unknown =>
  expect.objectContaining({ code: "NF_DATA", message: expect.stringMatching(message) });
export const text = (value: string): Uint8Array => new TextEncoder().encode(value);
export const zipped = (bytes: Uint8Array): Uint8Array => new Uint8Array(gzipSync(bytes));

/** A gzipped archive of files. */
export async function archive(files: Record<string, Uint8Array>): Promise<Uint8Array> {
  const entries = Object.entries(files).map(([name, body]) => ({
    header: { name, size: body.length, type: "file" as const },
    body,
  }));
  return zipped(await packTar(entries));
}

/** A folder of its own for each test, and no data from elsewhere. */
export class TestFolder {
  path = "";

  constructor() {
    beforeEach(async () => {
      this.path = await mkdtemp(join(tmpdir(), "nf-readers-"));
      vi.stubEnv("NF_DATA_DIR", "");
    });
    afterEach(async () => {
      await rm(this.path, { recursive: true, force: true });
      vi.unstubAllEnvs();
    });
  }

  async put(files: Record<string, Uint8Array | string>): Promise<void> {
    for (const [path, contents] of Object.entries(files)) {
      await mkdir(dirname(join(this.path, path)), { recursive: true });
      await writeFile(join(this.path, path), contents);
    }
  }
}
