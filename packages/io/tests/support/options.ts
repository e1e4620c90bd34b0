/** Options with an entry that the function does not have, as a program without types may pass them. */
export function withUnknown(entry: object): object {
  return entry;
}
