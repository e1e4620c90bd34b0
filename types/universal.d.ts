/**
 * The globals that Node and every browser share, for packages that run in both.
 *
 * Neither the DOM library nor Node's types are visible to `tsc -p tsconfig.build.json` of a universal
 * package, so that a slip such as `name`, `status` or `process` is a compile error there. What is listed
 * here exists everywhere; add to it only what does.
 */

declare var performance: { now(): number };
declare var console: {
  log(...data: unknown[]): void;
  warn(...data: unknown[]): void;
  error(...data: unknown[]): void;
};
declare function setTimeout(callback: () => void, milliseconds?: number): unknown;
declare function clearTimeout(id: unknown): void;
declare function queueMicrotask(callback: () => void): void;
declare class TextEncoder {
  encode(input?: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(input?: ArrayBufferView | ArrayBuffer): string;
}
declare class URL {
  constructor(url: string, base?: string | URL);
  readonly href: string;
  readonly protocol: string;
}
interface ImportMeta {
  readonly url: string;
}
