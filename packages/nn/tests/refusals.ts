import { expect } from "vitest";
import type { Module } from "../src/index.ts";

/** Calls a constructor past the types: what a program in JavaScript would do. */
export const build =
  (Type: unknown, ...args: readonly unknown[]): (() => unknown) =>
  () =>
    Reflect.construct(Type as new () => unknown, args);
/** Calls a module past the types. */
export const call =
  (module: Module, ...inputs: readonly unknown[]): (() => unknown) =>
  () =>
    Reflect.apply(module.forward, module, inputs);
/** An OptionError of a message. */
export const option = (message: RegExp): unknown =>
  expect.objectContaining({ code: "NF_OPTION", message: expect.stringMatching(message) });
/** A ShapeError of a message. */
export const shape = (message: RegExp): unknown =>
  expect.objectContaining({ code: "NF_SHAPE", message: expect.stringMatching(message) });
