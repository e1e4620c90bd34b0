/*
 * What this package uses of Node and of browsers, typed as narrowly as it is used: neither's declarations are visible
 * here, since the code runs in both. Look-ups are by name at run time, so bundlers find nothing to resolve.
 */

/** A compiled module; engines can send it to workers. */
export type WasmModule = object;

/** Memory whose buffer is shared between threads. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}

/** A table of functions. */
export interface WasmTable {
  readonly length: number;
  grow(by: number): number;
  set(index: number, value: unknown): void;
}

/** The part of the WebAssembly namespace that is used. */
export interface WasmApi {
  validate(bytes: Uint8Array): boolean;
  compile(bytes: Uint8Array): Promise<WasmModule>;
  Module: new (bytes: Uint8Array) => WasmModule;
  Instance: new (module: WasmModule, imports: object) => { readonly exports: Record<string, unknown> };
  instantiate(module: WasmModule, imports: object): Promise<{ readonly exports: Record<string, unknown> }>;
  Memory: new (options: { initial: number; maximum: number; shared: boolean }) => WasmMemory;
}

/** A worker of either kind, as far as it is used. */
export interface AnyWorker {
  postMessage(message: unknown): void;
  terminate(): unknown;
  unref?(): void;
  on?(event: "message" | "error" | "exit", listener: (detail: unknown) => void): unknown;
  addEventListener?(event: "message" | "error", listener: (detail: unknown) => void): void;
}

interface NodeProcess {
  readonly versions?: { readonly node?: string };
}

interface BuiltinModules {
  "node:fs": { readFileSync(path: URL): Uint8Array };
  "node:os": { availableParallelism(): number };
  "node:worker_threads": {
    Worker: new (
      source: string,
      options: { eval: true; name: string; stdout: boolean; stderr: boolean },
    ) => AnyWorker;
  };
}

/** A global by name, if there is one. The caller says what it is. */
export function globalNamed(name: string): unknown {
  return Reflect.get(globalThis, name);
}

/** A module of Node, or undefined where this is not Node. */
export function nodeModule<K extends keyof BuiltinModules>(name: K): BuiltinModules[K] | undefined {
  const process = globalNamed("process") as NodeProcess | undefined;
  if (process?.versions?.node === undefined) return undefined;
  const get = Reflect.get(process, "getBuiltinModule") as ((name: string) => unknown) | undefined;
  return get?.call(process, name) as BuiltinModules[K] | undefined;
}

/** The WebAssembly namespace, or undefined. */
export function wasmApi(): WasmApi | undefined {
  return globalNamed("WebAssembly") as WasmApi | undefined;
}

/** Cores of this machine that this process may use. */
export function coreCount(): number {
  const os = nodeModule("node:os");
  if (os !== undefined) return os.availableParallelism();
  const navigator = globalNamed("navigator") as { readonly hardwareConcurrency?: number } | undefined;
  return navigator?.hardwareConcurrency ?? 1;
}
