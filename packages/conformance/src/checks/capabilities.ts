import {
  type Call,
  contiguousView,
  DTYPE_NAMES,
  DTYPES,
  type DType,
  type FusedCall,
  OutOfMemoryError,
  program,
  type RequiredKernel,
  scalar as s,
} from "@nf/core";
import { type Check, type Context, NotApplicable } from "../check.ts";
import { FUSED, outputType } from "../kernels/fused-examples.ts";
import { callOf } from "../kernels/run.ts";
import { check, expectError, expectThat } from "./expect.ts";

const FAMILY = "capabilities";

const REQUIRED: Readonly<Record<RequiredKernel, readonly DType[]>> = {
  map: ["f32", "i32", "u32", "bool"],
  reduce: ["f32", "i32", "u32", "bool"],
  argReduce: ["f32", "i32", "u32"],
  matmul: ["f32", "i32", "u32"],
  gather: ["f32", "i32", "u32", "bool"],
  scatter: ["f32", "i32", "u32", "bool"],
  scan: ["f32", "i32", "u32"],
  sort: ["f32", "i32", "u32"],
};

/** Makes the plainest call of a fused kernel, hands it over, and frees its buffers. */
function withFused<T>(
  { backend }: Context,
  kernel: FusedCall["kernel"],
  dtype: DType,
  use: (call: Call) => T,
): T {
  const { parts, params = [], inputs, outputs } = FUSED[kernel](dtype);
  const make = (shape: readonly number[], own: DType) => {
    const bytes =
      Math.max(
        1,
        shape.reduce((a, b) => a * b, 1),
      ) * DTYPES[own].bytes;
    const buffer = backend.allocate(bytes);
    backend.write(buffer, 0, new Uint8Array(bytes));
    return contiguousView(buffer, own, shape);
  };
  const given = inputs.map((one) =>
    typeof one[0] === "string"
      ? make(one[1] as readonly number[], one[0])
      : make(one as readonly number[], dtype),
  );
  const made = outputs.map((shape, k) => make(shape, outputType(kernel, dtype, k)));
  try {
    return use(callOf(parts, params, given, made));
  } finally {
    for (const { buffer } of [...given, ...made]) backend.free(buffer);
  }
}

/** Well-formed, and the same every time. */
async function wellFormed(context: Context): Promise<void> {
  const { backend } = context;
  const { capabilities, name } = backend;
  const { dtypes, threads, maxBufferBytes, maxBuffersPerCall, readSync } = capabilities;
  expectThat(context, typeof name === "string" && name !== "", "the backend's name is empty");
  expectThat(context, Number.isInteger(threads) && threads >= 1, `threads is ${threads}`);
  expectThat(context, maxBufferBytes > 0, `maxBufferBytes is ${maxBufferBytes}`);
  expectThat(context, maxBuffersPerCall >= 4, `maxBuffersPerCall is ${maxBuffersPerCall}, kernels need 4`);
  expectThat(context, typeof readSync === "boolean", `readSync is ${String(readSync)}`);
  for (const weights of backend.capabilities.matmulWeights ?? [])
    expectThat(
      context,
      DTYPES[weights]?.kind === "float" && DTYPES[weights].bytes === 2,
      `matmulWeights declares ${weights}, which is no 16-bit float`,
    );
  if (readSync)
    expectThat(
      context,
      typeof backend.readSync === "function",
      "readSync is declared and there is no such method",
    );
  const known: readonly string[] = [...Object.keys(REQUIRED), ...Object.keys(FUSED)];
  for (const [kernel, list] of Object.entries(dtypes)) {
    expectThat(
      context,
      known.includes(kernel),
      `dtypes declares the kernel "${kernel}", which does not exist`,
    );
    const odd = list.find((dtype) => !DTYPE_NAMES.includes(dtype));
    expectThat(context, odd === undefined, `${kernel} declares the dtype "${odd}", which does not exist`);
    expectThat(context, new Set(list).size === list.length, `${kernel} declares a dtype twice`);
  }
  for (const [kernel, needed] of Object.entries(REQUIRED) as [RequiredKernel, readonly DType[]][]) {
    const missing = needed.filter((dtype) => !(dtypes[kernel] ?? []).includes(dtype));
    expectThat(
      context,
      missing.length === 0,
      `the required kernel ${kernel} does not declare ${missing.join(", ")}`,
    );
  }
  const again = await context.createBackend();
  const same = JSON.stringify(again.capabilities) === JSON.stringify(capabilities);
  await again.dispose();
  expectThat(context, same, "two backends made alike declare different capabilities");
}

/** Fused kernels: what is declared is taken and runs; what is not is declined with a reason. */
async function fused(context: Context): Promise<void> {
  const { backend } = context;
  for (const kernel of Object.keys(FUSED) as FusedCall["kernel"][]) {
    const declared = backend.capabilities.dtypes[kernel] ?? [];
    for (const dtype of DTYPE_NAMES.filter((one) => kernel === "mapMany" || DTYPES[one].kind === "float")) {
      const answer = withFused(context, kernel, dtype, (call) => {
        const said = backend.supports(call);
        if (said === "yes") backend.execute(call);
        return said;
      });
      await backend.synchronize();
      if (declared.includes(dtype))
        expectThat(
          context,
          typeof answer === "string",
          `${kernel} of ${dtype} is declared, and its plainest call is declined: ${JSON.stringify(answer)}`,
        );
      else
        expectThat(
          context,
          typeof answer === "object" && typeof answer.reason === "string" && answer.reason !== "",
          `${kernel} of ${dtype} is not declared, and supports answers ${JSON.stringify(answer)} instead of a reason`,
        );
    }
  }
}

/** A kernel that does not exist must not pass for one that ran. */
async function unknownKernel(context: Context): Promise<void> {
  const { backend } = context;
  const odd = {
    kernel: "frobnicate",
    buffers: [],
    inputs: [],
    outputs: [],
    params: [],
    attributes: {},
  } as never;
  const answer = backend.supports(odd);
  expectThat(
    context,
    typeof answer === "object" && answer.reason !== "",
    `supports answers ${JSON.stringify(answer)} for a kernel that does not exist`,
  );
  const run = async (): Promise<void> => {
    backend.execute(odd);
    await backend.synchronize();
  };
  await expectError(context, "a kernel that does not exist", run, undefined);
}

/** One byte more than a buffer may have. */
async function largest(context: Context): Promise<void> {
  const { backend } = context;
  const { maxBufferBytes } = backend.capabilities;
  if (!Number.isSafeInteger(maxBufferBytes)) throw new NotApplicable("no largest buffer is declared");
  const error = await expectError(
    context,
    "a buffer beyond maxBufferBytes",
    () => backend.allocate(maxBufferBytes + 1),
    "NF_OUT_OF_MEMORY",
    /\d/,
  );
  expectThat(
    context,
    error instanceof OutOfMemoryError && error.requestedBytes > maxBufferBytes,
    "the error does not say how many bytes were asked for",
  );
  const buffer = backend.allocate(16);
  backend.free(buffer);
}

/** Reading at once is reading. */
async function readsSync(context: Context): Promise<void> {
  const { backend } = context;
  if (!backend.capabilities.readSync || backend.readSync === undefined)
    throw new NotApplicable("readSync is not declared");
  const buffer = backend.allocate(8);
  try {
    backend.write(buffer, 0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    const [later, now] = [await backend.read(buffer, 2, 4), backend.readSync(buffer, 2, 4)];
    expectThat(
      context,
      later.join() === "3,4,5,6" && now.join() === "3,4,5,6",
      `read gives ${later.join()}, readSync ${now.join()}`,
    );
  } finally {
    backend.free(buffer);
  }
}

/** Strict programs are part of every backend; this keeps a constant in f32, not wider. */
async function constants(context: Context): Promise<void> {
  const { backend } = context;
  const buffer = backend.allocate(4);
  try {
    const tenth = program("tenth", [], [], () => s.constant(0.1, "f32"));
    backend.execute(callOf({ kernel: "map", program: tenth }, [], [], [contiguousView(buffer, "f32", [])]));
    const [value] = new Float32Array((await backend.read(buffer, 0, 4)).slice().buffer);
    expectThat(context, value === Math.fround(0.1), `the constant 0.1 is ${value}`);
  } finally {
    backend.free(buffer);
  }
}

/** Checks that a backend is what it says it is. */
export function capabilityChecks(): Check[] {
  return [
    check(FAMILY, "kernels", "are well-formed, and every required kernel declares its dtypes", wellFormed),
    check(
      FAMILY,
      "kernels",
      "fused kernels are taken where declared, and declined with a reason elsewhere",
      fused,
    ),
    check(FAMILY, "kernels", "a kernel that does not exist is refused", unknownKernel),
    check(FAMILY, "kernels", "a buffer beyond the declared limit is refused with its size", largest),
    check(FAMILY, "kernels", "readSync reads what read reads", readsSync),
    check(FAMILY, "kernels", "a program without inputs runs on a scalar", constants),
  ];
}
