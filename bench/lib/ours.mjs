// NanoFlux on one of its backends, eagerly, as a user writes it: `node lib/ours.mjs wasm` speaks what lib/peer.mjs says.
// Where the time of one work goes: `node lib/ours.mjs native --profile lenet [threads [precision]]`.
import { assign, fromData, matmul, noGrad, profile, use, zeros } from "@nf/core";
import { checks, values, weight } from "./data.mjs";
import { serve } from "./peer.mjs";
import { steps } from "./steps.mjs";

const BACKENDS = {
  native: {
    make: async (options) => (await import("@nf/backend-native")).native(options),
    // A product is there when the call returns, as it is in PyTorch.
    finish: () => {},
  },
  wasm: {
    make: async (options) => (await import("@nf/backend-wasm")).wasm(options),
    finish: (product) => product.dataSync(),
  },
  webgpu: {
    make: async () => {
      const backend = await (await import("@nf/backend-webgpu")).webgpu();
      process.stderr.write(`${backend.description}\n`);
      return backend;
    },
    finish: (product) => product.data(),
  },
};
const [, , name, ...rest] = process.argv;
const backendOf = BACKENDS[name];
if (backendOf === undefined)
  throw new Error(`The first argument is one of ${Object.keys(BACKENDS).join(", ")}.`);

/** Gives the model the weights that all start from. */
function start(model) {
  let index = 0;
  noGrad(() => {
    for (const [name, parameter] of model.namedParameters()) {
      const { shape } = parameter;
      if (shape.length > 1) assign(parameter, fromData(weight(shape, index++), shape));
      else if (name.endsWith("bias")) assign(parameter, zeros(shape));
    }
  });
}

async function training(kind) {
  const { model, step } = steps[kind]();
  start(model);
  return { run: step, check: await checks(step) };
}

const kinds = {
  async matmul({ rows, depth, columns }) {
    const a = fromData(values(rows * depth, 1), [rows, depth]);
    const b = fromData(values(depth * columns, 2), [depth, columns]);
    const run = () => {
      const product = matmul(a, b);
      const read = backendOf.finish(product);
      if (read instanceof Promise) return read.then(() => product.dispose());
      product.dispose();
    };
    const first = matmul(a, b);
    const result = await first.data();
    first.dispose();
    return { run, check: [result[0], result[result.length - 1]] };
  },
  mlp: () => training("mlp"),
  lenet: () => training("lenet"),
  nanogpt: () => training("nanogpt"),
};

if (rest[0] === "--profile") {
  const [, kind, threads = "1", matmulPrecision] = rest;
  await profiled(kind, { threads: Number(threads), ...(matmulPrecision && { matmulPrecision }) });
} else {
  const on = (make) => async (work, threads) => {
    const precision = work.precision && { matmulPrecision: work.precision };
    await use(await backendOf.make({ threads, ...precision }));
    return make(work);
  };
  await serve(Object.fromEntries(Object.entries(kinds).map(([kind, make]) => [kind, on(make)])));
}

/** Prints where a step's time goes. */
async function profiled(kind, options) {
  const backend = await backendOf.make(options);
  const profiler = profile(backend);
  await use(profiler);
  const { run } = await kinds[kind]({ rows: 1024, depth: 1024, columns: 1024 });
  const spend = async (milliseconds) => {
    let steps = 0;
    const from = performance.now();
    while (performance.now() - from < milliseconds || steps < 5) {
      await run();
      steps++;
    }
    return { steps, milliseconds: performance.now() - from };
  };
  await spend(1500);
  profiler.reset();
  const { steps, milliseconds } = await spend(3000);
  const report = profiler.report();
  console.log(
    `${kind}, ${JSON.stringify(options)}, ${steps} steps of ${(milliseconds / steps).toFixed(3)} ms, ` +
      `${(report.total.milliseconds / steps).toFixed(3)} ms of them in kernels, ${report.total.calls / steps} calls`,
  );
  const rows = report.programs.map((row) => ({
    kernel: `${row.kernel} ${row.name}`,
    "calls a step": row.calls / steps,
    "µs a step": Math.round((1000 * row.milliseconds) / steps),
    "µs a call": Number(((1000 * row.milliseconds) / row.calls).toFixed(1)),
    "GFLOP/s": Number((row.flops / row.milliseconds / 1e6).toFixed(1)),
  }));
  console.table(rows);
  process.exit(0);
}
