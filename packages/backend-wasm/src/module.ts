import { BackendError } from "@nf/core";
import { applyDelta } from "./delta.ts";
import { globalNamed, nodeModule, type WasmApi, type WasmModule, wasmApi } from "./platform.ts";

/**
 * A module whose one function uses a relaxed instruction (`i32x4.relaxed_trunc_f32x4_s`): engines that accept it know
 * relaxed SIMD.
 */
const RELAXED_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2,
  253, 15, 253, 128, 2, 11,
]);
/** The same with `i8x16.popcnt`, of the fixed-width SIMD that every module here needs. */
const SIMD_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98,
  11,
]);

/** The API, or a typed error that says what is missing here. */
export function requireWasm(): WasmApi {
  const api = wasmApi();
  if (api === undefined || !api.validate(SIMD_PROBE)) {
    throw new BackendError(
      "wasm: this JavaScript engine has no WebAssembly with SIMD. Use a newer one, or @nf/backend-cpu.",
      "NF_UNSUPPORTED",
    );
  }
  return api;
}

/** Which module to run. */
export type Flavour = "simd" | "relaxed";

/**
 * The module to run.
 * @throws BackendError where relaxed SIMD is demanded and the engine does not know it
 */
export function chooseFlavour(api: WasmApi, relaxed: boolean | "auto"): Flavour {
  if (relaxed === false) return "simd";
  if (api.validate(RELAXED_PROBE)) return "relaxed";
  if (relaxed === "auto") return "simd";
  throw new BackendError(
    'wasm: relaxed is true, but this engine does not know relaxed SIMD. Leave it at "auto".',
    "NF_UNSUPPORTED",
  );
}

const compiled = new Map<Flavour, Promise<WasmModule>>();

/** The compiled module, loaded once a process. */
export function loadModule(api: WasmApi, flavour: Flavour): Promise<WasmModule> {
  let module = compiled.get(flavour);
  if (module === undefined) {
    module = loadBytes(flavour).then((bytes) => compile(api, bytes));
    compiled.set(flavour, module);
    // A failed download may work the next time.
    module.catch(() => compiled.delete(flavour));
  }
  return module;
}

async function compile(api: WasmApi, bytes: Uint8Array): Promise<WasmModule> {
  try {
    return await api.compile(bytes);
  } catch (cause) {
    // A page's Content-Security-Policy may forbid it; the engine's message says so.
    throw new BackendError(`wasm: the module could not be compiled: ${messageOf(cause)}.`, "NF_BACKEND", {
      cause,
    });
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function loadBytes(flavour: Flavour): Promise<Uint8Array> {
  // Bundlers look for exactly this form, with the path written out.
  const plain = fetchBytes(new URL("../wasm/simd.wasm", import.meta.url));
  if (flavour === "simd") return plain;
  const [base, delta] = await Promise.all([
    plain,
    fetchBytes(new URL("../wasm/relaxed.delta", import.meta.url)),
  ]);
  return applyDelta(base, delta);
}

async function fetchBytes(url: URL): Promise<Uint8Array> {
  const fs = nodeModule("node:fs");
  try {
    if (fs !== undefined && url.protocol === "file:") return fs.readFileSync(url);
    const fetch = globalNamed("fetch") as (url: URL) => Promise<FetchResponse>;
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    // What development servers and hosts of single-page applications say instead of "not found".
    if (response.headers.get("content-type")?.startsWith("text/html") === true) {
      throw new Error(
        "the server sent a web page instead, so the file is not where the bundler left this module " +
          '(Vite before version 8 needs optimizeDeps: { exclude: ["@nf/backend-wasm"] })',
      );
    }
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw new BackendError(
      `wasm: could not load ${url.href}: ${messageOf(cause)}. ` +
        "The package ships it; in a checkout, npm run setup builds it.",
      "NF_BACKEND",
      { cause },
    );
  }
}

interface FetchResponse {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  arrayBuffer(): Promise<ArrayBuffer>;
}
