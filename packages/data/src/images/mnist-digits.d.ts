// Declared by hand: with the shapes read from twenty megabytes of JSON, compiling takes seven seconds longer.
interface MnistDigits {
  readonly data: readonly number[];
}
declare module "mnist/src/digits/0.json" {
  const digits: MnistDigits;
  export = digits;
}
declare module "mnist/src/digits/1.json" {
  const digits: MnistDigits;
  export = digits;
}
declare module "mnist/src/digits/2.json" {
  const digits: MnistDigits;
  export = digits;
}
declare module "mnist/src/digits/3.json" {
  const digits: MnistDigits;
  export = digits;
}
declare module "mnist/src/digits/4.json" {
  const digits: MnistDigits;
  export = digits;
}
declare module "mnist/src/digits/5.json" {
  const digits: MnistDigits;
  export = digits;
}
declare module "mnist/src/digits/6.json" {
  const digits: MnistDigits;
  export = digits;
}
declare module "mnist/src/digits/7.json" {
  const digits: MnistDigits;
  export = digits;
}
declare module "mnist/src/digits/8.json" {
  const digits: MnistDigits;
  export = digits;
}
declare module "mnist/src/digits/9.json" {
  const digits: MnistDigits;
  export = digits;
}
