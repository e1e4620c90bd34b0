// What one operation on tiny tensors costs in JavaScript, on each backend, split into its parts; and what a training
// step costs in JavaScript. `node calls.mjs --help`.
import { cpu } from "@nf/backend-cpu";
import { wasm } from "@nf/backend-wasm";
import * as nf from "@nf/core";
import { native } from "../packages/backend-native/dist/index.js";
import { allocate } from "../packages/core/dist/ops/run.js";
import { deviceOf } from "../packages/core/dist/runtime/device.js";
import { machine } from "./lib/measure.mjs";
import { options, pattern } from "./lib/options.mjs";
import { steps } from "./lib/steps.mjs";

const chosen = options({
  help: `
node calls.mjs [--only pattern] [--steps] [--json]

Nanoseconds of JavaScript of one operation on tiny tensors, by backend (cpu, wasm, native; one thread):
  infer     checks, shapes and dtypes, scopes: what is left of the whole
  pool      memory and handles of the results, until they end
  call      the backend's execute, without its machine code; on cpu kernels are JavaScript and are part of it
  tape      what it costs more where a gradient is wanted
  all       the sum of these
  machine   WebAssembly or Rust, with the way there and back
Median of rounds in which all operations of a backend take turns; "all" also with the least and greatest.

  --only pattern   operations or steps whose name (backend and all) matches
  --steps          instead: microseconds of a whole training step, of which the backend executes nothing
  --json           as JSON`,
  values: ["only"],
  flags: ["steps", "json"],
});
const only = pattern("only", chosen.only ?? "");

const ROUNDS = 21;
const ROUND_NS = 5e5;
const WARM_MS = 60;

/** Nanoseconds of each body: median, least and greatest. They take turns, so that a busy machine hits all alike. */
function measure(bodies) {
  const time = (body, count) => {
    const start = process.hrtime.bigint();
    for (let i = 0; i < count; i++) body();
    return Number(process.hrtime.bigint() - start) / count;
  };
  const counts = bodies.map((body) => {
    for (const start = performance.now(); performance.now() - start < WARM_MS; ) body();
    return Math.max(1, Math.ceil(ROUND_NS / time(body, 20)));
  });
  const samples = bodies.map(() => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, body] of bodies.entries()) samples[i].push(time(body, counts[i]));
  }
  return samples.map((times) => {
    times.sort((a, b) => a - b);
    return { median: times[times.length >> 1], min: times[0], max: times.at(-1) };
  });
}

/** The operations, as functions of tensors; the first of these wants a gradient where the tape is measured. */
function operations() {
  const line = (length) => nf.tensor(Array.from({ length }, (_, i) => i / 4));
  const of = (...shape) => nf.reshape(line(shape.reduce((a, b) => a * b)), shape).keep();
  const [a, b, square, image, kernel] = [line(8), line(8), of(2, 2), of(1, 1, 4, 4), of(1, 1, 3, 3)];
  const classes = nf.tensor([0, 1], { dtype: "i32" });
  return {
    add: [(x) => nf.add(x, b), a],
    "mul by a number": [(x) => nf.mul(x, 0.5), a],
    relu: [(x) => nf.relu(x), a],
    sum: [(x) => nf.sum(x), a],
    matmul: [(x) => nf.matmul(x, square), square],
    reshape: [(x) => nf.reshape(x, [2, 4]), a],
    transpose: [(x) => nf.transpose(x), square],
    softmax: [(x) => nf.softmax(x), square],
    conv2d: [(x) => nf.conv2d(x, kernel), image],
    maxPool2d: [(x) => nf.maxPool2d(x, { kernelSize: 2 }), image],
    "crossEntropy (composite)": [(x) => nf.crossEntropy(x, classes), square],
  };
}

/** Runs a function and gives the calls that reached the backend, each with a function that runs its machine code again. */
function callsOf(backend, run) {
  const calls = [];
  const { engine } = backend;
  const inner = engine?.runViews === undefined ? "run" : "runViews";
  let kernel;
  backend.execute = (call) => {
    Object.getPrototypeOf(backend).execute.call(backend, call);
    calls.push({ call, kernel });
  };
  if (engine !== undefined) {
    engine[inner] = (first, ...rest) => {
      kernel = first;
      Object.getPrototypeOf(engine)[inner].call(engine, first, ...rest);
    };
  }
  run();
  delete backend.execute;
  if (engine !== undefined) delete engine[inner];
  return calls;
}

/** What runs the machine code of the call that a backend ran last: this and no more. */
function machineCode({ engine }, kernel) {
  if (engine === undefined) return () => {};
  if (typeof kernel === "number") return () => engine.binding.run(engine.id, kernel);
  return () => {
    kernel(engine.call);
    engine.exports.scratch_reset();
  };
}

function measureOperation(backend, name, [run, operand]) {
  const device = deviceOf(backend);
  const owner = new nf.Scope();
  let result;
  const calls = callsOf(backend, () => owner.run(() => (result = run(operand))));
  const outputs = calls.length === 0 ? [] : calls.map(({ call }) => call.outputs[0]);
  const leaf = owner.run(() => nf.tensor(operand.dataSync(), { requiresGrad: true }));
  const many = (x) => {
    for (let i = 0; i < 100; i++) run(x);
  };
  const bodies = [
    () => nf.scope(() => many(operand)),
    // A whole graph is the scope's: what its start and end cost is shared by a hundred operations.
    () => nf.scope(() => many(nf.reshape(leaf, operand.shape))),
    () => {
      for (const { dtype, shape } of outputs) allocate(device, dtype, shape, name).end("");
    },
    ...calls.flatMap(({ call, kernel }) => [
      () => backend.execute(call),
      // Once through JavaScript for a hundred times without, so that it is this call's words that lie there.
      () => {
        backend.execute(call);
        const again = machineCode(backend, kernel);
        for (let i = 0; i < 100; i++) again();
      },
    ]),
  ];
  const [plain, taped, pool, ...executed] = measure(bodies);
  let call = 0;
  let compiled = 0;
  for (let i = 0; i < executed.length; i += 2) {
    const once = executed[i].median;
    const code = backend.engine === undefined ? 0 : Math.max(0, (executed[i + 1].median - once) / 100);
    call += once - code;
    compiled += code;
  }
  owner.dispose();
  const whole = plain.median / 100;
  const all = taped.median / 100 - compiled;
  return {
    operation: `${backend.name} ${name}`,
    calls: calls.length,
    infer: whole - pool.median - call - compiled,
    pool: pool.median,
    call,
    tape: (taped.median - plain.median) / 100,
    all,
    least: taped.min / 100 - compiled,
    greatest: taped.max / 100 - compiled,
    machine: compiled,
    result: result.shape,
  };
}

/** A backend that takes the calls of another one and does nothing with them. */
function idle(backend, count) {
  return {
    name: `idle ${backend.name}`,
    capabilities: backend.capabilities,
    allocate: (byteLength) => backend.allocate(byteLength),
    free: (buffer) => backend.free(buffer),
    write: (buffer, offset, bytes) => backend.write(buffer, offset, bytes),
    read: (buffer, offset, length) => backend.read(buffer, offset, length),
    readSync: (buffer, offset, length) => backend.readSync(buffer, offset, length),
    execute: () => count.calls++,
    supports: (call) => backend.supports(call),
    synchronize: () => backend.synchronize(),
    dispose: () => backend.dispose(),
  };
}

async function backends() {
  const made = [];
  for (const [name, make] of Object.entries({ cpu, wasm, native })) {
    try {
      made.push(await make(name === "cpu" ? {} : { threads: 1 }));
    } catch (error) {
      console.error(`${name} is left out: ${error.message}`);
    }
  }
  return made;
}

const rows = [];
if (chosen.steps) {
  for (const backend of (await backends()).slice(1)) {
    for (const [name, make] of Object.entries(steps)) {
      if (!only.test(`${backend.name} ${name}`)) continue;
      const count = { calls: 0 };
      await nf.use(idle(backend, count));
      const { step } = make();
      step();
      count.calls = 0;
      step();
      const { calls } = count;
      for (let i = 0; i < 2000; i++) step();
      const [time] = measure([step]);
      const [median, least, greatest] = [time.median, time.min, time.max].map((ns) => ns / 1000);
      rows.push({
        step: `${backend.name} ${name}`,
        calls,
        median,
        least,
        greatest,
        "a call": median / calls,
      });
    }
  }
} else {
  for (const backend of await backends()) {
    await nf.use(backend);
    for (const [name, work] of Object.entries(operations())) {
      if (only.test(`${backend.name} ${name}`)) rows.push(measureOperation(backend, name, work));
    }
  }
}
if (chosen.json) {
  console.log(JSON.stringify({ machine, unit: chosen.steps ? "µs" : "ns", rows }));
} else {
  const digits = chosen.steps ? 1 : 0;
  console.log(`${machine}; ${chosen.steps ? "microseconds" : "nanoseconds"}`);
  console.table(
    rows.map((row) =>
      Object.fromEntries(
        Object.entries(row)
          .filter(([key]) => key !== "result")
          .map(([key, value]) => [key, typeof value === "number" ? Number(value.toFixed(digits)) : value]),
      ),
    ),
  );
}
// The threads of backends would keep the process.
process.exit(0);
