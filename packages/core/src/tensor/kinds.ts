/**
 * Carries a kind at compile time. The kind stands in a method's parameter, which TypeScript compares both ways: an
 * unknown kind (plain `Tensor`) fits every kind and the reverse, two different ones do not fit. Nothing exists at run
 * time.
 */
export interface Kinded<K> {
  kind?(kind: K): void;
}

/** Batches of `C` channels over `N` spatial dimensions: shape `[batch, channels, …]`. */
export interface Spatial<N extends number, C extends number = number> {
  readonly layout: "spatial";
  readonly dimensions: N;
  readonly channels: C;
}

/** Batches of `F` features: shape `[batch, features]` (or more leading dimensions). */
export interface Flat<F extends number = number> {
  readonly layout: "flat";
  readonly features: F;
}

/** Batches of token ids: shape `[batch, positions]`, dtype `i32`. */
export interface Tokens {
  readonly layout: "tokens";
}
