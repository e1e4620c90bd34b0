import type { Flat, Spatial, Tensor, Tokens } from "@nf/core";
import { Module } from "../module/module.ts";

declare const same: unique symbol;
declare const features: unique symbol;
declare const fromFlat: unique symbol;

/** Output kind of a layer that passes its input's kind on, such as ReLU. Exists only at compile time. */
export interface Same {
  readonly [same]: never;
}

/** Output kind of a layer that leaves one feature of each channel: `Flat<C>` after `Spatial<N, C>`. Exists only at compile time. */
export interface ChannelFeatures {
  readonly [features]: never;
}

/** Output kind of a layer that gives `K` where features come in, and where others come what is not known. Exists only at compile time. */
export interface FromFlat<K> {
  readonly [fromFlat]: K;
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

/** A size in words. */
type Size<N extends number> = number extends N ? "number" : `${N}`;

/** A kind in words; a layer that takes two kinds names both. */
type Name<K> = [K] extends [Spatial<infer N, infer C>]
  ? `Spatial<${Size<N>}, ${Size<C>}>`
  : [K] extends [Flat<infer F>]
    ? `Flat<${Size<F>}>`
    : [K] extends [Tokens]
      ? "Tokens"
      : [K] extends [Flat | Spatial<number>]
        ? `${Name<Extract<K, Flat>>} or ${Name<Extract<K, Spatial<number>>>}`
        : "another kind";

/** The more special of two sizes, or `never` where they differ. */
type Meet<A, B> = [A] extends [B] ? A : [B] extends [A] ? B : never;

/** The more special of two kinds, taken by size where each knows what the other does not; `never` where they do not fit. */
type MeetKinds<Given, Taken> = [Given] extends [Taken]
  ? Given
  : [Taken] extends [Given]
    ? Taken
    : [Given, Taken] extends [Spatial<infer GN, infer GC>, Spatial<infer TN, infer TC>]
      ? [Meet<GN, TN>] extends [never]
        ? never
        : [Meet<GC, TC>] extends [never]
          ? never
          : Spatial<Meet<GN, TN>, Meet<GC, TC>>
      : never;

/** What is left of the kinds that may come (one, or several) where a layer takes one or several. */
type Narrower<Given, Taken> = [Taken] extends [never]
  ? Given
  : Given extends unknown
    ? Taken extends unknown
      ? MeetKinds<Given, Taken>
      : never
    : never;

/** Kinds fit when one is a special case of the other; `unknown` fits all. */
type Fits<Given, Taken> = [Narrower<Given, Taken>] extends [never] ? false : true;

/** Kind after a layer that met `Given`. */
type After<Given, L> =
  GivenBy<L> extends Same
    ? Narrower<Given, TakenBy<L>>
    : GivenBy<L> extends ChannelFeatures
      ? Features<Narrower<Given, TakenBy<L>>>
      : GivenBy<L> extends FromFlat<infer K>
        ? [Given] extends [Flat]
          ? K
          : unknown
        : GivenBy<L>;

/** One feature a channel. */
type Features<K> = [K] extends [Spatial<number, infer C>] ? Flat<C> : Flat;

type Explain<
  Given,
  L,
  Position extends number,
> = Mismatch<`layer ${Position} takes ${Name<TakenBy<L>>}, but the layer before it gives ${Name<Given>}`>;

/** What a layer around which there is a way must also be: nothing more, or a {@link Mismatch} if it changes the kind. */
export type SameKind<L> =
  GivenBy<L> extends Same
    ? unknown
    : Fits<GivenBy<L>, TakenBy<L>> extends true
      ? unknown
      : Mismatch<`its block takes ${Name<TakenBy<L>>} and gives ${Name<GivenBy<L>>}, which cannot be added`>;

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
  ? Chain<L>[P] extends Mismatch<infer Message>
    ? // Spelled out, so that the first line of the compiler's message has the words.
      Mismatch<Message>
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
