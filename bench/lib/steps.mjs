// Whole training steps as a user writes them, on the backend in use: by name, the model and one step, which gives the loss.
import { crossEntropy, fromData, reshape, scope, tensor } from "@nf/core";
import { Gpt, lenet } from "@nf/models";
import { Linear, ReLU, sequential } from "@nf/nn";
import { Adam, AdamW, SGD } from "@nf/optim";
import { BATCH, classes, LENET, MLP, NANOGPT, values } from "./data.mjs";

function training(model, optimizer, x, y, forward = (input) => model.forward(input)) {
  const update = () => {
    optimizer.zeroGrad();
    const loss = crossEntropy(forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  if (x.backend.capabilities.readSync) {
    const step = () => {
      let loss = 0;
      scope(() => {
        loss = update().itemSync();
      });
      return loss;
    };
    return { model, step };
  }
  const step = async () => {
    const loss = scope(update);
    const value = await loss.item();
    loss.dispose();
    return value;
  };
  return { model, step };
}

export const steps = {
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
    const model = new Gpt({
      vocabSize: vocab,
      maxPositions: tokens,
      hiddenSize: width,
      layers: blocks,
      heads,
    });
    const x = fromData(classes(batch * tokens, 1, vocab), [batch, tokens]);
    const y = fromData(classes(batch * tokens, 2, vocab), [batch * tokens]);
    const rows = (input) => reshape(model.forward(input), [-1, vocab]);
    return training(model, new AdamW(model.parameters(), { lr }), x, y, rows);
  },
};
