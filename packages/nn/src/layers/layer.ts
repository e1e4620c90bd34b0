import type { Flat, Spatial, Tensor, Tokens } from "@nf/core";
import { Module } from "../module/module.ts";

declare const same: unique symbol;

/** Output kind of a layer that passes its input's kind on, such as ReLU. Exists only at compile time. */
export interface Same {
  readonly [same]: never;
}

/**
 * A module from one tensor to another whose kinds are known at compile time: `In` is what it takes, `Out` what it
 * gives ({@link Same}: what came in). `sequential` checks them. `Layer` alone stands for any.
 */
export abstract class Layer<In = unknown, Out = unknown> extends Module {
  /** Compile-time only. */
  declare readonly kinds?: { readonly takes: In; readonly gives: Out };

  /** Computes the result of one batch. */
  abstract override forward(input: Tensor<In>): Tensor;
}

/** A module that `sequential` takes: one tensor in, one out. Where it is no {@link Layer}, its `forward` says the kinds. */
export type LayerLike = Module & { forward(input: Tensor<never>): Tensor };

/** The kind a layer takes. */
export type TakenBy<L> =
  L extends Layer<infer In, infer _>
    ? In
    : L extends { forward(input: Tensor<infer In>): unknown }
      ? In
      : unknown;

/** The kind a layer gives, or {@link Same}. */
export type GivenBy<L> =
  L extends Layer<infer _, infer Out>
    ? Out
    : L extends { forward(input: never): Tensor<infer Out> }
      ? Out
      : unknown;

/** Stands in the place of a layer that does not fit the one before it; the compiler's message shows why. */
export interface Mismatch<Message extends string> {
  readonly mismatch: Message;
}

/** A kind in words. */
type Name<K> =
  K extends Spatial<infer N, infer C>
    ? `Spatial<${N}, ${C}>`
    : K extends Flat<infer F>
      ? `Flat<${F}>`
      : K extends Tokens
        ? "Tokens"
        : "another kind";

/** Kinds fit when one is a special case of the other; `unknown` fits all. */
type Fits<Given, Taken> = [Given] extends [Taken] ? true : [Taken] extends [Given] ? true : false;

/** The more special of two kinds that fit. */
type Narrower<Given, Taken> = [Taken] extends [Given] ? Taken : Given;

/** Kind after a layer that met `Given`. */
type After<Given, L> = GivenBy<L> extends Same ? Narrower<Given, TakenBy<L>> : GivenBy<L>;

type Explain<
  Given,
  L,
  Position extends number,
> = Mismatch<`layer ${Position} takes ${Name<TakenBy<L>>}, but the layer before it gives ${Name<Given>}`>;

/** The layers, with a {@link Mismatch} for each that does not fit the one before. Recursive in the tail position. */
export type Chain<
  L extends readonly unknown[],
  Given = unknown,
  Done extends readonly unknown[] = [],
> = number extends L["length"]
  ? L
  : L extends readonly [infer First, ...infer Rest]
    ? Fits<Given, TakenBy<First>> extends true
      ? Chain<Rest, After<Given, First>, [...Done, First]>
      : Chain<Rest, After<unknown, First>, [...Done, Explain<Given, First, Done["length"]>]>
    : Done;

/** What the layer at position `P` must also be: nothing more, or a {@link Mismatch}, which no layer is. */
export type Demand<L extends readonly unknown[], P> = P extends keyof Chain<L>
  ? Chain<L>[P] extends Mismatch<string>
    ? Chain<L>[P]
    : unknown
  : unknown;

/** The kind a chain of layers takes: that of its first layer that is particular. */
export type ChainTakes<L extends readonly unknown[]> = L extends readonly [infer First, ...infer Rest]
  ? unknown extends TakenBy<First>
    ? GivenBy<First> extends Same
      ? ChainTakes<Rest>
      : unknown
    : TakenBy<First>
  : unknown;

type AllSame<L extends readonly unknown[]> = number extends L["length"]
  ? false
  : L extends readonly [infer First, ...infer Rest]
    ? GivenBy<First> extends Same
      ? AllSame<Rest>
      : false
    : true;

/** The kind that leaves a chain of layers which `Given` enters. */
export type ChainResult<L extends readonly unknown[], Given = unknown> = L extends readonly [
  infer First,
  ...infer Rest,
]
  ? ChainResult<Rest, After<Given, First>>
  : number extends L["length"]
    ? unknown
    : Given;

/** The kind a chain of layers gives, or {@link Same} if all of them pass it on. */
export type ChainGives<L extends readonly unknown[]> = AllSame<L> extends true ? Same : ChainResult<L>;
