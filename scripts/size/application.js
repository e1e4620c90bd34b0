// What an application bundles of core and the cpu backend: the class with all its methods, gradients, memory, and the
// operations of a convolutional classifier. Operations that nobody imports are left out by the bundler.
import { cpu } from "@nf/backend-cpu";
import * as nf from "@nf/core";

globalThis.app = [
  cpu,
  nf.use,
  nf.tensor,
  nf.parameter,
  nf.manualSeed,
  nf.randn,
  nf.conv2d,
  nf.maxPool2d,
  nf.linear,
  nf.crossEntropy,
  nf.dropout,
  nf.noGrad,
  nf.scope,
  nf.valueAndGrad,
  nf.zeroGrad,
  nf.defineUpdate,
  nf.runUpdate,
  nf.memory,
];
