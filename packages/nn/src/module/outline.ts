/** What an outline needs of a module. */
interface Outlined {
  toString(): string;
  namedChildren(): readonly (readonly [name: string, child: Outlined])[];
}

/** Where Node's console looks for what it shows of an object. */
export const INSPECT: symbol = Symbol.for("nodejs.util.inspect.custom");

/**
 * A module and all below it, a line each with what it was made of, drawn with tree lines:
 *
 * ```
 * Sequential()
 * ├─ 0: Linear(4, 8)
 * └─ 1: ReLU()
 * ```
 */
export function outline(module: Outlined, above: readonly Outlined[] = []): string {
  // One that holds itself would go on for ever.
  const children = above.includes(module) ? [] : module.namedChildren();
  const lines = children.flatMap(([name, child], index) => {
    const last = index === children.length - 1;
    const [first, ...more] = `${name}: ${outline(child, [...above, module])}`.split("\n");
    return [`${last ? "└─" : "├─"} ${first}`, ...more.map((line) => `${last ? "  " : "│ "} ${line}`)];
  });
  return [String(module), ...lines].join("\n");
}
