// NanoFlux on its WASM backend, eagerly, as a user writes it. Where the time of one work goes:
// `node wasm/ours.mjs --profile lenet [threads]`.
import { wasm } from "@nf/backend-wasm";
import {
  assign,
  crossEntropy,
  fromData,
  matmul,
  noGrad,
  profile,
  reshape,
  scope,
  tensor,
  use,
  zeros,
} from "@nf/core";
import { Gpt, lenet } from "@nf/models";
import { Linear, ReLU, sequential } from "@nf/nn";
import { Adam, AdamW, SGD } from "@nf/optim";
import { BATCH, checks, classes, LENET, MLP, NANOGPT, values, weight } from "./data.mjs";
import { serve } from "./peer.mjs";

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

async function training(model, optimizer, x, y, forward = (input) => model.forward(input)) {
  start(model);
  const step = () => {
    let loss = 0;
    scope(() => {
      optimizer.zeroGrad();
      const output = crossEntropy(forward(x), y);
      output.backward();
      optimizer.step();
      loss = output.itemSync();
    });
    return loss;
  };
  return { run: step, check: await checks(step) };
}

const kinds = {
  matmul({ rows, depth, columns }) {
    const a = fromData(values(rows * depth, 1), [rows, depth]);
    const b = fromData(values(depth * columns, 2), [depth, columns]);
    const run = () => {
      const product = matmul(a, b);
      const numbers = product.dataSync();
      product.dispose();
      return numbers;
    };
    const result = run();
    return { run, check: [result[0], result[result.length - 1]] };
  },
  mlp() {
    const [inputs, hidden, outputs] = MLP.sizes;
    const model = sequential(new Linear(inputs, hidden), new ReLU(), new Linear(hidden, outputs));
    const x = fromData(values(BATCH * inputs, 1), [BATCH, inputs]);
    const y = tensor(classes(BATCH, 2, outputs));
    return training(model, new SGD(model.parameters(), { lr: MLP.lr }), x, y);
  },
  lenet() {
    const model = lenet();
    const x = fromData(values(BATCH * 784, 1), [BATCH, 1, 28, 28]);
    const y = tensor(classes(BATCH, 2, 10));
    return training(model, new Adam(model.parameters(), LENET), x, y);
  },
  nanogpt() {
    const { batch, tokens, vocab, width, heads, blocks, lr } = NANOGPT;
    const sizes = { vocabSize: vocab, maxPositions: tokens, hiddenSize: width, layers: blocks, heads };
    const model = new Gpt(sizes);
    const x = fromData(classes(batch * tokens, 1, vocab), [batch, tokens]);
    const y = fromData(classes(batch * tokens, 2, vocab), [batch * tokens]);
    const rows = (input) => reshape(model.forward(input), [-1, vocab]);
    return training(model, new AdamW(model.parameters(), { lr }), x, y, rows);
  },
};

if (process.argv[2] === "--profile") {
  const [, , , kind, threads = "1"] = process.argv;
  await profiled(kind, Number(threads));
} else {
  const on = (make) => async (work, threads) => {
    await use(wasm({ threads }));
    return make(work);
  };
  await serve(Object.fromEntries(Object.entries(kinds).map(([kind, make]) => [kind, on(make)])));
}

/** Prints where a step's time goes. */
async function profiled(kind, threads) {
  const backend = await wasm({ threads });
  const profiler = profile(backend);
  await use(profiler);
  const { run } = await kinds[kind]({ rows: 1024, depth: 1024, columns: 1024 });
  const spend = (milliseconds) => {
    let steps = 0;
    const from = performance.now();
    while (performance.now() - from < milliseconds || steps < 5) {
      run();
      steps++;
    }
    return { steps, milliseconds: performance.now() - from };
  };
  spend(1500);
  profiler.reset();
  const { steps, milliseconds } = spend(3000);
  const report = profiler.report();
  console.log(
    `${kind}, ${threads} thread(s), ${steps} steps of ${(milliseconds / steps).toFixed(3)} ms, ` +
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
