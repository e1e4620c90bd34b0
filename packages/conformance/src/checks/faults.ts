import * as nf from "@nf/core";
import { type Backend, OutOfMemoryError } from "@nf/core";
import { type Check, type Context, NotApplicable } from "../check.ts";
import { check, expectError, expectThat, expectValues, thrownBy } from "./expect.ts";

const FAMILY = "faults";
const ROUNDS = 100;
const LIMIT = 256 * 1024;

/** Runs on a backend that may hold {@link LIMIT} bytes. */
async function limited(context: Context, run: (backend: Backend) => Promise<void>): Promise<void> {
  const { createLimited } = context;
  if (createLimited === undefined)
    throw new NotApplicable("no `limited` is given, so memory cannot be made to run out");
  const backend = await createLimited(LIMIT);
  try {
    await nf.use(backend);
    await run(backend);
  } finally {
    await nf.use(context.backend);
    await backend.dispose();
  }
}

function expectAmounts(context: Context, error: unknown): void {
  const typed = error instanceof OutOfMemoryError;
  if (!typed) context.fail(`out of memory is reported as ${String(error)}`);
  const { requestedBytes, message } = error as OutOfMemoryError;
  expectThat(
    context,
    requestedBytes > 0 && /\d/.test(message),
    `"${message}" does not say how many bytes were asked for`,
  );
}

/** Out of memory in every part of an operation: a typed error, nothing left behind, and the next operation works. */
async function outOfMemory(context: Context): Promise<void> {
  await limited(context, async (backend) => {
    const x = nf.tensor([1, 2, 3]);
    const column = nf.zeros([1000, 1]);
    const row = nf.ones([1000]);
    const attempts: readonly (() => unknown)[] = [
      () => nf.zeros([LIMIT]),
      () => nf.add(column, row),
      () => nf.softmax(nf.add(column, row)),
      () => nf.grad((a: nf.Tensor) => nf.sum(nf.exp(nf.mul(a, row))))(column),
      () => nf.fromData(new Float32Array(LIMIT), [LIMIT]),
    ];
    const before = nf.memory(backend);
    for (let round = 0; round < ROUNDS; round++) {
      expectAmounts(
        context,
        await thrownBy(context, `round ${round}`, () => nf.scope(attempts[round % attempts.length]!)),
      );
      const y = nf.add(x, round);
      expectValues(context, `the operation after running out of memory, round ${round}`, await y.data(), [
        1 + round,
        2 + round,
        3 + round,
      ]);
      y.dispose();
      const { liveTensors, liveBuffers } = nf.memory(backend);
      expectThat(
        context,
        liveTensors === before.liveTensors && liveBuffers === before.liveBuffers,
        `round ${round} leaves ${liveTensors - before.liveTensors} tensors and ${liveBuffers - before.liveBuffers} buffers behind`,
      );
    }
    for (const one of [x, column, row]) one.dispose();
  });
}

/** As much fits after everything was given back as before. */
async function fillAgain(context: Context): Promise<void> {
  await limited(context, async (backend) => {
    const fill = async (): Promise<number> => {
      const all: nf.Tensor[] = [];
      for (;;) {
        try {
          all.push(nf.full([2048], all.length));
        } catch (error) {
          expectAmounts(context, error);
          break;
        }
        if (all.length > LIMIT / 1024) context.fail(`${all.length} tensors of 8 KiB fit in ${LIMIT} bytes`);
      }
      // Never wrong numbers: every tensor still holds its own.
      for (const [i, x] of all.entries())
        expectThat(
          context,
          (await x.data()).every((value) => value === i),
          `tensor ${i} of a full memory changed`,
        );
      for (const x of all) x.dispose();
      nf.releaseMemory(backend);
      return all.length;
    };
    const first = await fill();
    expectThat(context, first > 0, "nothing fits");
    for (let round = 0; round < 3; round++) {
      const again = await fill();
      expectThat(
        context,
        again === first,
        `${first} tensors fit at first, ${again} after all were given back`,
      );
    }
  });
}

/** Buffers that are freed can be had again, without core's pool in between. */
async function freed(context: Context): Promise<void> {
  await limited(context, async (backend) => {
    for (let round = 0; round < 200; round++) {
      const buffer = backend.allocate(LIMIT / 2);
      backend.write(buffer, 0, Uint8Array.of(round & 255));
      backend.free(buffer);
    }
    await backend.synchronize();
  });
}

/** More bytes than one buffer may have: refused at once, and the backend works on. */
async function tooLarge(context: Context): Promise<void> {
  const { maxBufferBytes } = context.backend.capabilities;
  const elements = 2 ** 31 - 1;
  const dtype = (["f64", "f32"] as const).find((one) => elements * nf.DTYPES[one].bytes > maxBufferBytes);
  if (dtype === undefined || context.backend.capabilities.dtypes.map.includes(dtype) === false)
    throw new NotApplicable("every tensor that core can address fits in a buffer");
  for (let round = 0; round < ROUNDS; round++) {
    expectAmounts(
      context,
      await thrownBy(context, "a tensor beyond the largest buffer", () => nf.zeros([elements], { dtype })),
    );
    await expectError(
      context,
      "a tensor beyond 2^31 elements",
      () => nf.zeros([2 ** 16, 2 ** 15], { dtype }),
      "NF_SHAPE",
      /2\^31/,
    );
    const y = nf.tensor([round, 1]);
    expectValues(context, "the operation after", await y.data(), [round, 1]);
    y.dispose();
  }
}

/** A few operations on a backend, with nothing left behind. */
async function works(context: Context, backend: Backend, label: string): Promise<void> {
  await nf.use(backend);
  const scope = new nf.Scope();
  try {
    const [product, sum] = scope.run(() => {
      const x = nf.tensor([1, 2, 3]);
      const y = nf.matmul(nf.reshape(x, [1, 3]), nf.reshape(x, [3, 1]));
      return [y, nf.sum(nf.add(x, nf.exp(nf.mul(x, 0))))] as const;
    });
    expectValues(context, label, [await product.item(), await sum.item()], [14, 9]);
  } finally {
    scope.dispose();
  }
}

/** create, dispose, create works; dispose does nothing the second time, nor while the first is under way. */
async function createAgain(context: Context): Promise<void> {
  try {
    for (let round = 0; round < 4; round++) {
      const backend = await context.createBackend();
      await works(context, backend, `backend ${round} of four, one after the other`);
      await Promise.all([backend.dispose(), backend.dispose()]);
      await backend.dispose();
    }
    await works(context, context.backend, "this backend, after others came and went");
  } finally {
    await nf.use(context.backend);
  }
}

/** What a backend that was disposed of is asked for is refused with a typed error that says so. */
async function afterDispose(context: Context): Promise<void> {
  const backend = await context.createBackend();
  try {
    await nf.use(backend);
    const x = nf.tensor([1, 2, 3]);
    const buffer = backend.allocate(16);
    const pending = x.data();
    await backend.dispose();
    await settles(context, "a read under way while the backend is disposed of", pending);
    const codes = ["NF_BACKEND", "NF_VALIDATION"] as const;
    const says = /dispose|closed|ended/i;
    await expectError(context, "allocate after dispose", () => backend.allocate(16), codes, says);
    await expectError(
      context,
      "write after dispose",
      () => backend.write(buffer, 0, new Uint8Array(4)),
      codes,
      says,
    );
    await expectError(context, "read after dispose", () => backend.read(buffer, 0, 4), codes, says);
    await expectError(context, "an operation after dispose", () => nf.add(x, 1), codes, says);
    await expectError(context, "data() after dispose", () => x.data(), codes, says);
    await backend.dispose();
  } finally {
    await nf.use(context.backend);
    await backend.dispose();
  }
}

const PATIENCE = 2000;

/** Fails if a promise neither resolves nor rejects. */
async function settles(context: Context, label: string, promise: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), PATIENCE);
  });
  const end = await Promise.race([
    promise.then(
      () => "ended",
      () => "ended",
    ),
    late,
  ]);
  clearTimeout(timer);
  expectThat(context, end === "ended", `${label}: neither a value nor an error within ${PATIENCE} ms`);
}

/** Steps of training use the blocks of the steps before them. */
async function steadyMemory(context: Context): Promise<void> {
  const { backend } = context;
  const missing = (["map", "reduce", "matmul"] as const).filter(
    (kernel) => !backend.capabilities.dtypes[kernel].includes("f32"),
  );
  if (missing.length > 0) throw new NotApplicable(`${missing.join(", ")} does not declare f32`);
  const scope = new nf.Scope();
  const weight = scope.run(() => nf.parameter(nf.full([16, 16], 0.01)));
  const input = scope.run(() => nf.ones([4, 16]));
  const step = (): void => {
    const loss = nf.mean(nf.square(nf.tanh(nf.matmul(input, weight))));
    loss.backward();
    nf.noGrad(() => nf.scope(() => nf.assign(weight, nf.sub(weight, nf.mul(weight.grad as nf.Tensor, 0.1)))));
    nf.zeroGrad([weight]);
  };
  try {
    for (let i = 0; i < 10; i++) step();
    const before = nf.memory(backend);
    for (let i = 0; i < 200; i++) step();
    await backend.synchronize();
    const after = nf.memory(backend);
    for (const what of ["liveTensors", "liveBuffers", "liveBytes", "poolMisses"] as const)
      expectThat(
        context,
        after[what] === before[what],
        `200 steps of training change ${what} from ${before[what]} to ${after[what]}`,
      );
  } finally {
    nf.zeroGrad([weight]);
    weight.dispose();
    scope.dispose();
  }
}

/** Checks of memory running out, and of backends that come and go. */
export function faultChecks(): Check[] {
  return [
    check(
      FAMILY,
      "inference",
      `out of memory is a typed error and the next operation works, ${ROUNDS} times of ${ROUNDS}`,
      outOfMemory,
    ),
    check(FAMILY, "inference", "a memory that was full takes as much again", fillAgain),
    check(FAMILY, "kernels", "buffers that are freed can be had again", freed),
    check(FAMILY, "inference", "a tensor beyond the largest buffer is refused", tooLarge),
    check(FAMILY, "inference", "create, dispose, dispose again, create", createAgain),
    check(FAMILY, "inference", "use after dispose is refused", afterDispose),
    check(FAMILY, "training", "steps of training keep memory constant", steadyMemory),
  ];
}
