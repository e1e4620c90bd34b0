import { DataError } from "../errors.ts";

/*
 * Python's pickles of protocol 2, as far as arrays of NumPy, sparse matrices of SciPy and plain containers need it. A pickle is a
 * program that may call anything; here only the names below exist, and they only hold what they are given.
 */

/** What Python would have made by calling something. */
export interface PickledObject {
  /** Module and name of what was called. */
  readonly type: string;
  readonly args: readonly Pickled[];
  /** What it was set to afterwards. */
  state: Pickled;
}

/** A value of a pickle: strings are bytes, tuples and lists are arrays. */
export type Pickled =
  | number
  | boolean
  | null
  | Uint8Array
  | readonly Pickled[]
  | ReadonlyMap<string | number, Pickled>
  | PickledObject;

const KNOWN: ReadonlySet<string> = new Set([
  ...["collections defaultdict", "__builtin__ list", "scipy.sparse.csr csr_matrix"],
  ...["numpy ndarray", "numpy dtype", "numpy.core.multiarray _reconstruct"],
]);

/** Text of a string of a pickle. */
export function pickledText(value: Pickled | undefined): string | undefined {
  return value instanceof Uint8Array ? String.fromCharCode(...value.subarray(0, 256)) : undefined;
}

/** Whether a value is the result of a call. */
export function isPickledObject(value: Pickled | undefined): value is PickledObject {
  return typeof value === "object" && value !== null && "type" in value;
}

/**
 * Reads a pickle.
 * @param what names the file in messages.
 * @throws DataError where it is damaged, or holds something else than arrays and containers.
 */
export function readPickle(what: string, bytes: Uint8Array): Pickled {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: (Pickled | undefined)[] = [];
  const marks: number[] = [];
  const memo = new Map<number, Pickled>();
  let at = 0;
  const refuse: (why: string) => never = (why) => {
    throw new DataError(`${what}: ${why} at byte ${at}. Fetch it again.`);
  };
  const skip = (count: number): number => {
    const start = at;
    if (count < 0 || start + count > bytes.length) refuse("the file ends too early");
    at += count;
    return start;
  };
  const u8 = (): number => view.getUint8(skip(1));
  const i32 = (): number => view.getInt32(skip(4), true);
  const string = (length: number): Uint8Array => {
    const start = skip(length);
    return bytes.subarray(start, start + length);
  };
  const line = (): string => {
    const end = bytes.indexOf(10, at);
    const text = String.fromCharCode(...string(end < 0 ? bytes.length : Math.min(end - at, 200)));
    skip(1);
    return text;
  };
  const pop = (): Pickled => {
    const value = stack.length > (marks.at(-1) ?? 0) ? stack.pop() : undefined;
    return value === undefined ? refuse("it takes more than there is") : value;
  };
  const toMark = (): Pickled[] => stack.splice(marks.pop() ?? refuse("it has no mark")) as Pickled[];
  const list = (): Pickled[] => {
    const value = stack.at(-1);
    return Array.isArray(value) ? value : refuse("it appends to what is no list");
  };
  const call = (): PickledObject => {
    const args = pop();
    const called = pop();
    if (!isPickledObject(called) || !Array.isArray(args)) return refuse("it calls what cannot be called");
    return { type: called.type, args, state: null };
  };
  const tuple = (count: number): Pickled[] => {
    const values = Array.from({ length: count }, pop);
    return values.reverse();
  };
  const global = (): PickledObject => {
    const type = `${line()} ${line()}`;
    return KNOWN.has(type)
      ? { type, args: [], state: null }
      : refuse(`it asks for ${type}, which is not read`);
  };
  const set = (pairs: readonly Pickled[]): void => {
    const target = stack.at(-1);
    // A dictionary with defaults is a call, whose entries come afterwards.
    if (isPickledObject(target) && target.state === null) target.state = new Map();
    const entries = isPickledObject(target) ? target.state : target;
    if (!(entries instanceof Map) || pairs.length % 2 !== 0) refuse("it sets entries of no dictionary");
    for (let i = 0; i < pairs.length; i += 2) {
      const key = typeof pairs[i] === "number" ? (pairs[i] as number) : pickledText(pairs[i] as Pickled);
      entries.set(key ?? refuse("a key is neither a number nor a text"), pairs[i + 1]);
    }
  };
  const build = (): void => {
    const state = pop();
    const target = stack.at(-1);
    if (!isPickledObject(target)) refuse("it sets the state of what has none");
    target.state = state;
  };
  const put = (place: number): void => void memo.set(place, stack.at(-1) ?? refuse("it keeps nothing"));
  const get = (place: number): Pickled => memo.get(place) ?? refuse("it uses what it did not keep");

  if (u8() !== 0x80 || u8() !== 2) refuse("it is no pickle of protocol 2");
  for (;;) {
    const code = String.fromCharCode(u8());
    if (code === ".") return pop();
    else if (code === "(") marks.push(stack.length);
    else if (code === "K") stack.push(u8());
    else if (code === "M") stack.push(view.getUint16(skip(2), true));
    else if (code === "J") stack.push(i32());
    else if (code === "U") stack.push(string(u8()));
    else if (code === "T") stack.push(string(i32()));
    else if (code === "N") stack.push(null);
    else if (code === "\x88" || code === "\x89") stack.push(code === "\x88");
    else if (code === ")" || code === "]") stack.push([]);
    else if (code === "}") stack.push(new Map());
    else if (code === "\x85" || code === "\x86" || code === "\x87")
      stack.push(tuple(code.charCodeAt(0) - 0x84));
    else if (code === "t") stack.push(toMark());
    else if (code === "a") {
      const value = pop();
      list().push(value);
    } else if (code === "e") {
      const values = toMark();
      const target = list();
      // One by one: as arguments there may be too many.
      for (const value of values) target.push(value);
    } else if (code === "s") set(tuple(2));
    else if (code === "u") set(toMark());
    else if (code === "c") stack.push(global());
    else if (code === "R" || code === "\x81") stack.push(call());
    else if (code === "b") build();
    else if (code === "q") put(u8());
    else if (code === "r") put(i32());
    else if (code === "h") stack.push(get(u8()));
    else if (code === "j") stack.push(get(i32()));
    else refuse(`it has the instruction 0x${code.charCodeAt(0).toString(16)}, which is not read,`);
  }
}
