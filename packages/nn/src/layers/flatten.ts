import { type Flat, flatten, type Tensor } from "@nf/core";
import { Layer } from "./layer.ts";

/** Lays all dimensions but the first out in one: `[batch, …]` to `[batch, features]`. */
export class Flatten extends Layer<unknown, Flat> {
  override forward(input: Tensor): Tensor<Flat> {
    return flatten(input, 1);
  }
}
