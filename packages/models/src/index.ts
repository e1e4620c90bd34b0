export * from "./gpt/index.ts";
export { LENET, type LeNet, type LeNetOptions, lenet } from "./lenet/lenet.ts";
export * from "./llama/index.ts";
export * from "./transformer/index.ts";
