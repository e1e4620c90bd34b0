import * as nf from "@nf/core";
import { type BackendBuffer, contiguousView, DTYPE_NAMES, type Expr, program, type Tensor } from "@nf/core";
import { type Check, type Context, NotApplicable, undeclared } from "../check.ts";
import { anyValue } from "../kernels/map-cases.ts";
import { callOf } from "../kernels/run.ts";
import { LAYOUTS, lay, settle } from "../layout.ts";
import { count, nd } from "../reference/nd.ts";
import { Source } from "../source.ts";
import { check, expectError, expectThat, expectValues } from "./expect.ts";

const FAMILY = "transfer";
/** Whole words, parts of words, and sizes at which copies go over to another way. */
const SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 255, 257, 1023, 4097] as const;

const pattern = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 37 + seed * 11 + 1) & 255);

/** Allocates buffers, hands them over and frees them whatever happens. */
async function withBuffers(
  context: Context,
  sizes: readonly number[],
  use: (buffers: readonly BackendBuffer[]) => Promise<void>,
): Promise<void> {
  const buffers = sizes.map((size) => context.backend.allocate(size));
  try {
    await use(buffers);
  } finally {
    for (const buffer of buffers) context.backend.free(buffer);
  }
}

/** Bytes come back as they were written, whole and in part. */
async function bytes(context: Context): Promise<void> {
  const { backend } = context;
  await withBuffers(context, SIZES, async (buffers) => {
    for (const [i, size] of SIZES.entries()) backend.write(buffers[i]!, 0, pattern(size, i));
    for (const [i, size] of SIZES.entries()) {
      const wanted = pattern(size, i);
      expectValues(context, `a buffer of ${size} bytes`, await backend.read(buffers[i]!, 0, size), [
        ...wanted,
      ]);
      const [from, length] = [size >> 2, size >> 1];
      expectValues(
        context,
        `bytes ${from} to ${from + length} of ${size}`,
        await backend.read(buffers[i]!, from, length),
        [...wanted.slice(from, from + length)],
      );
    }
    // A part in the middle is written over; the rest stays.
    const [last, size] = [buffers.at(-1)!, SIZES.at(-1)!];
    backend.write(last, 5, Uint8Array.of(201, 202, 203));
    const wanted = [...pattern(size, SIZES.length - 1)];
    wanted.splice(5, 3, 201, 202, 203);
    expectValues(context, "a buffer written to at byte 5", await backend.read(last, 0, size), wanted);
    expectValues(context, "reading nothing", await backend.read(last, 3, 0), []);
  });
}

/** What was written or read belongs to whoever holds it. */
async function copies(context: Context): Promise<void> {
  const { backend } = context;
  await withBuffers(context, [64, 64], async ([a, b]) => {
    const source = pattern(64, 1);
    backend.write(a!, 0, source);
    source.fill(0);
    const first = await backend.read(a!, 0, 64);
    expectValues(context, "a buffer whose source was changed after write", first, [...pattern(64, 1)]);
    first.fill(9);
    expectValues(context, "a buffer whose earlier read was changed", await backend.read(a!, 0, 64), [
      ...pattern(64, 1),
    ]);
    const kept = await backend.read(a!, 0, 64);
    backend.write(a!, 0, pattern(64, 2));
    backend.write(b!, 0, pattern(64, 3));
    expectValues(context, "another buffer", await backend.read(b!, 0, 64), [...pattern(64, 3)]);
    expectValues(context, "a read whose buffer was written to afterwards", kept, [...pattern(64, 1)]);
    // Only a part of an array behind a larger one.
    const part = pattern(64, 4).subarray(16, 32);
    backend.write(a!, 8, part);
    expectValues(context, "a part of an array", await backend.read(a!, 8, 16), [...part]);
  });
}

const next = program("next", ["i32"], [], ([x]) => nf.scalar.add(x as Expr, 1));

/** A read gives what earlier calls made, whatever is dispatched after it; a freed input was still read. */
async function order(context: Context): Promise<void> {
  const { backend } = context;
  await withBuffers(context, [16, 16], async ([a, b]) => {
    const [x, y] = [contiguousView(a!, "i32", [4]), contiguousView(b!, "i32", [4])];
    const write = (...values: readonly number[]): void =>
      backend.write(a!, 0, new Uint8Array(Int32Array.from(values).buffer));
    const ints = async (buffer: BackendBuffer): Promise<Int32Array> =>
      new Int32Array((await backend.read(buffer, 0, 16)).slice().buffer);
    write(1, 2, 3, 4);
    backend.execute(callOf({ kernel: "map", program: next }, [], [x], [y]));
    const early = ints(b!);
    backend.execute(callOf({ kernel: "map", program: next }, [], [y], [x]));
    const middle = ints(a!);
    write(10, 20, 30, 40);
    backend.execute(callOf({ kernel: "map", program: next }, [], [x], [y]));
    const final = ints(b!);
    expectValues(context, "a read before two more calls", await early, [2, 3, 4, 5]);
    expectValues(context, "a read before its buffer was written to", await middle, [3, 4, 5, 6]);
    expectValues(context, "a read after all", await final, [11, 21, 31, 41]);
  });
  const [input, output] = [backend.allocate(16), backend.allocate(16)];
  backend.write(input, 0, new Uint8Array(Int32Array.of(5, 6, 7, 8).buffer));
  const views = [contiguousView(input, "i32", [4]), contiguousView(output, "i32", [4])] as const;
  backend.execute(callOf({ kernel: "map", program: next }, [], [views[0]], [views[1]]));
  backend.free(input);
  const other = backend.allocate(16);
  backend.write(other, 0, new Uint8Array(16).fill(255));
  const result = new Int32Array((await backend.read(output, 0, 16)).slice().buffer);
  for (const buffer of [output, other]) backend.free(buffer);
  expectValues(context, "a result whose input was freed after the call", result, [6, 7, 8, 9]);
}

/** Live buffers keep their bytes while others come and go. */
async function reuse(context: Context): Promise<void> {
  const { backend, seed } = context;
  const source = new Source(seed);
  const live: { readonly buffer: BackendBuffer; readonly size: number; readonly made: number }[] = [];
  const judge = async (round: number, { buffer, size, made }: (typeof live)[number]): Promise<void> =>
    expectValues(
      context,
      `a buffer made ${round - made} allocations ago`,
      await backend.read(buffer, 0, size),
      [...pattern(size, made)],
    );
  try {
    for (let round = 0; round < 300; round++) {
      const size = 1 + source.below(300);
      const buffer = backend.allocate(size);
      backend.write(buffer, 0, pattern(size, round));
      live.push({ buffer, size, made: round });
      if (live.length <= 20) continue;
      const chosen = source.pick(live);
      await judge(round, chosen);
      live.splice(live.indexOf(chosen), 1);
      backend.free(chosen.buffer);
    }
    for (const one of live) await judge(300, one);
  } finally {
    for (const { buffer } of live) backend.free(buffer);
  }
}

/** Tensors of every dtype and layout come back as they were made. */
async function tensors(context: Context): Promise<void> {
  const { backend, seed } = context;
  const source = new Source(seed);
  for (const dtype of DTYPE_NAMES.filter((one) => undeclared(backend, ["map"], one) === undefined)) {
    for (const shape of [[], [1], [3], [5, 7], [0, 4], [2, 3, 1, 3], [1025]]) {
      for (const [kind, layout] of Object.entries(LAYOUTS)) {
        const values = settle(
          nd(
            shape,
            Array.from({ length: count(shape) }, () => anyValue(dtype, source)),
          ),
          layout,
        );
        const scope = new nf.Scope();
        try {
          const x = scope.run(() => lay(values, dtype, layout));
          const label = `${dtype} [${shape.join(", ")}], ${kind}`;
          expectValues(context, label, await x.data(), values.data);
          if (backend.capabilities.readSync)
            expectValues(context, `${label}, dataSync`, x.dataSync(), values.data);
        } finally {
          scope.dispose();
        }
      }
    }
  }
}

/** Many reads at once, of tensors that end meanwhile. */
async function together(context: Context): Promise<void> {
  const scope = new nf.Scope();
  const reads = scope.run(() =>
    Array.from({ length: 40 }, (_, i) => {
      const x = nf.add(nf.tensor([1, 2, 3]), i);
      return x.data();
    }),
  );
  scope.dispose();
  for (const [i, values] of (await Promise.all(reads)).entries())
    expectValues(context, `read ${i} of 40 at once`, values, [1 + i, 2 + i, 3 + i]);
}

/** Two backends alive at once: each with its own tensors, which move between them. */
async function twoBackends(context: Context): Promise<void> {
  const { backend, createBackend } = context;
  const other = await createBackend();
  if (other === backend) throw new NotApplicable("createBackend gives the same backend again");
  try {
    await nf.use(other);
    const there = nf.tensor([10, 20, 30]);
    await nf.use(backend);
    const here = nf.tensor([1, 2, 3]);
    await expectError(
      context,
      "operands on two backends",
      () => nf.add(here, there),
      "NF_BACKEND_MIX",
      /add: .*backend/,
    );
    const [a, b] = [nf.mul(here, 2), nf.mul(there, 2)];
    expectThat(
      context,
      a.backend === backend && b.backend === other,
      "a result is on another backend than its operand",
    );
    const moved: Tensor = await nf.to(there, backend);
    const sum = nf.add(here, moved);
    const parameter = nf.parameter(nf.tensor([1, 1, 1]));
    const moments = nf.zeros([3]);
    nf.follow(moments, parameter);
    await nf.moveTo(parameter, other);
    expectThat(
      context,
      parameter.backend === other && moments.backend === other,
      "moveTo did not move a parameter and what follows it",
    );
    const product = nf.noGrad(() => nf.mul(parameter, there));
    for (const [label, x, wanted] of [
      ["here", a, [2, 4, 6]],
      ["there", b, [20, 40, 60]],
      ["moved", sum, [11, 22, 33]],
      ["moved in place", product, [10, 20, 30]],
    ] as const)
      expectValues(context, label, await x.data(), wanted);
    for (const x of [there, here, a, b, moved, sum, parameter, moments, product]) x.dispose();
    const rest = nf.memory(other);
    expectThat(
      context,
      rest.liveTensors === 0 && rest.liveBuffers === 0,
      `${rest.liveTensors} tensors are left on the other backend`,
    );
  } finally {
    await nf.use(backend);
    await other.dispose();
  }
  const x = nf.tensor([1, 2]);
  const y = nf.add(x, 1);
  expectValues(context, "after the other backend ended", await y.data(), [2, 3]);
  x.dispose();
  y.dispose();
}

/** Checks of bytes going in and coming out. */
export function transferChecks(): Check[] {
  return [
    check(FAMILY, "kernels", "bytes of odd sizes and offsets, whole and in part", bytes),
    check(FAMILY, "kernels", "writes and reads are copies", copies),
    check(FAMILY, "kernels", "reads, writes and frees keep their order among calls", order),
    check(FAMILY, "kernels", "live buffers keep their bytes while others come and go", reuse),
    check(FAMILY, "inference", "tensors of every dtype and layout", tensors),
    check(FAMILY, "inference", "many reads at once", together),
    check(FAMILY, "inference", "two backends at once", twoBackends, ["to", "moveTo", "follow"]),
  ];
}
