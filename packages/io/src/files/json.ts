/** A JSON value; objects are maps, so that no key can reach a prototype. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
/** A JSON object. */
export type JsonObject = ReadonlyMap<string, Json>;

/** What a text may at most contain. */
export interface JsonLimits {
  /** Levels of nesting; default 64. */
  readonly depth?: number;
  /** Values in all, keys not counted; default as many as stay below 128 MB together with the text. */
  readonly values?: number;
}

/** Text that is no JSON, repeats a key, or is over a limit. */
export class JsonError extends Error {}

/**
 * Reads JSON from UTF-8 bytes. Unlike `JSON.parse` it refuses repeated keys, and stops at limits before memory is spent
 * on what lies behind them: headers of weight files come from strangers.
 *
 * @throws JsonError
 */
export function parseJson(bytes: Uint8Array, limits: JsonLimits = {}): Json {
  const parser = new Parser(bytes, limits.depth ?? 64, limits.values ?? affordable(bytes.length));
  return parser.document();
}

/** Bytes that a text and its values may take, and what a value takes, maps and lists shared out among their values. */
const AFFORDED = 120_000_000;
const VALUE_BYTES = 300;

function affordable(length: number): number {
  return Math.max(0, Math.floor((AFFORDED - length) / VALUE_BYTES));
}

/** Whether a value is an object. */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return value instanceof Map;
}

/** A value with plain objects in place of maps; `__proto__` becomes a property like any other. */
export function plainJson(value: Json): unknown {
  if (isJsonObject(value)) return Object.fromEntries([...value].map(([key, one]) => [key, plainJson(one)]));
  return Array.isArray(value) ? value.map(plainJson) : value;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
/** No number needs more; a longer one is an attack. */
const LONGEST_NUMBER = 400;

class Parser {
  readonly #bytes: Uint8Array;
  readonly #depth: number;
  readonly #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #left: number;
  #at = 0;

  constructor(bytes: Uint8Array, depth: number, values: number) {
    this.#bytes = bytes;
    this.#depth = depth;
    this.#left = values;
  }

  document(): Json {
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#bytes.length) this.#fail("more follows the value");
    return value;
  }

  #fail(what: string): never {
    throw new JsonError(`${what}, at byte ${this.#at}`);
  }

  /** Skips blanks; the byte behind them. */
  #space(): number | undefined {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.#at++;
    }
  }

  #value(depth: number): Json {
    if (this.#left-- <= 0) this.#fail("too many values");
    const byte = this.#space();
    if (byte === QUOTE) return this.#string();
    if (byte === 0x7b || byte === 0x5b) {
      if (depth >= this.#depth) this.#fail(`nested deeper than ${this.#depth}`);
      this.#at++;
      return byte === 0x7b ? this.#object(depth + 1) : this.#array(depth + 1);
    }
    return this.#word();
  }

  /** Passes a separator. Returns false at the closing byte, which it passes too. */
  #next(close: number, first: boolean): boolean {
    const byte = this.#space();
    if (byte === close) {
      this.#at++;
      return false;
    }
    if (first) return true;
    if (byte !== 0x2c) this.#fail("expected a comma or an end");
    this.#at++;
    if (this.#space() === close) this.#fail("a comma before the end");
    return true;
  }

  #object(depth: number): JsonObject {
    const object = new Map<string, Json>();
    for (let first = true; this.#next(0x7d, first); first = false) {
      if (this.#space() !== QUOTE) this.#fail("expected a key");
      const key = this.#string();
      if (object.has(key)) this.#fail(`the key ${JSON.stringify(key.slice(0, 100))} is there twice`);
      if (this.#space() !== 0x3a) this.#fail("expected a colon");
      this.#at++;
      object.set(key, this.#value(depth));
    }
    return object;
  }

  #array(depth: number): readonly Json[] {
    const array: Json[] = [];
    for (let first = true; this.#next(0x5d, first); first = false) array.push(this.#value(depth));
    return array;
  }

  #string(): string {
    const bytes = this.#bytes;
    const start = ++this.#at;
    let escaped = false;
    for (;;) {
      const byte = bytes[this.#at];
      if (byte === undefined) this.#fail("a text has no end");
      if (byte < 0x20) this.#fail("a control character in a text");
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        escaped = true;
        this.#at++;
      }
      this.#at++;
    }
    try {
      const raw = this.#text.decode(bytes.subarray(start, this.#at));
      this.#at++;
      return escaped ? (JSON.parse(`"${raw}"`) as string) : raw;
    } catch {
      return this.#fail("a text that is not UTF-8, or has a wrong escape");
    }
  }

  #word(): Json {
    const start = this.#at;
    while (isWordByte(this.#bytes[this.#at])) this.#at++;
    if (this.#at - start > LONGEST_NUMBER) this.#fail("too long a number");
    const word = this.#text.decode(this.#bytes.subarray(start, this.#at));
    if (word === "true") return true;
    if (word === "false") return false;
    if (word === "null") return null;
    if (!NUMBER.test(word)) this.#fail("expected a value");
    const value = Number(word);
    if (!Number.isFinite(value)) this.#fail(`${word.slice(0, 40)} is beyond the greatest number there is`);
    return value;
  }
}

/** Letters, digits and signs: what numbers and words are made of. */
function isWordByte(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    [0x2b, 0x2d, 0x2e, 0x45].includes(byte)
  );
}
