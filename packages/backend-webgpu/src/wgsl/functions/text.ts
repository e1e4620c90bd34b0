/** A function's text, or its texts for numbers alone and for vectors of four. */
export type FunctionText = string | ((width: 1 | 4) => string);
