export { LENET, type LeNet, type LeNetOptions, lenet } from "./lenet/lenet.ts";
export * from "./llama/index.ts";
