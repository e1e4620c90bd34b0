import * as core from "@nf/core";
import * as nn from "@nf/nn";
import { describe, expect, it } from "vitest";
import { allRows } from "../src/cases/index.ts";
import { RANGED } from "../src/cases/ranges.ts";
import { layerChecks } from "../src/checks/layers.ts";
import { planChecks } from "../src/plan.ts";

/** Exported functions that compute nothing: types of error, the backend kit, memory, tools. */
const NOT_OPERATIONS: readonly string[] = [
  // Classes, errors among them.
  "ArithmeticError",
  "BackendDecorator",
  "BackendError",
  "BlockInterpreter",
  "DTypeError",
  "Generator",
  "GradientError",
  "IndexError",
  "LifetimeError",
  "NanoFluxError",
  "OptionError",
  "OutOfMemoryError",
  "Scope",
  "ScopeError",
  "ShapeError",
  "Tensor",
  "ValidationError",
  // What a backend's author needs.
  "allContiguous",
  "blockInterpreter",
  "castValue",
  "checkAllocation",
  "checkFailure",
  "contiguousStrides",
  "contiguousView",
  "coordinateStrides",
  "evaluate",
  "floorMod",
  "findTwins",
  "forEachBlock",
  "fromBfloatBits",
  "fromHalfBits",
  "interpretMap",
  "isContiguous",
  "isFloat",
  "isInteger",
  "loadElements",
  "makeProgram",
  "makeView",
  "mergeDimensions",
  "mergeViews",
  "printProgram",
  "program",
  "reinterpret",
  "roundTo",
  "sizeOf",
  "storeElements",
  "threefry2x32",
  "threefryWord",
  "toBfloatBits",
  "toHalfBits",
  // Arguments of operations, checked.
  "checkAxes",
  "checkAxis",
  "checkChoice",
  "checkInteger",
  "checkNumber",
  "checkOptions",
  "promoteTypes",
  // Backends in use, memory, decorators, modes.
  "currentBackend",
  "debugMemory",
  "flopsOf",
  "memory",
  "nullBackend",
  "profile",
  "releaseMemory",
  "resetPeakMemory",
  "scope",
  "use",
  "validate",
  "withFusion",
  // Marks a leaf.
  "parameter",
  // Trees of tensors.
  "treeLeaves",
  "treeMap",
  "visitTensors",
];

const exported = Object.entries(core)
  .filter(([, value]) => typeof value === "function")
  .map(([name]) => name);
const rows = allRows();
const checks = [...planChecks({ level: "complete", traces: [], families: undefined }).values()].flat();
const covered = new Set([
  ...rows.flatMap(({ op, also = [] }) => [op, ...also]),
  ...checks.flatMap(({ covers = [] }) => covers),
]);

describe("every exported operation of core has a case", () => {
  it("is looked at by a row or a check", () => {
    const missing = exported.filter((name) => !covered.has(name) && !NOT_OPERATIONS.includes(name));
    expect(missing, "add a row in packages/conformance/src/cases/").toEqual([]);
  });

  it("lists nothing that is not exported, and nothing twice", () => {
    expect([...covered, ...NOT_OPERATIONS].filter((name) => !exported.includes(name))).toEqual([]);
    expect(NOT_OPERATIONS.filter((name) => covered.has(name))).toEqual([]);
    expect(new Set(NOT_OPERATIONS).size).toBe(NOT_OPERATIONS.length);
  });

  it.each(RANGED)("looks at %s over its range", (op) => {
    const labels = rows.filter((row) => row.op === op).flatMap(({ instances }) => instances);
    expect(labels.some(({ label }) => label.startsWith("over its range"))).toBe(true);
  });

  it("has a property check for each row, and gradients for at least 100 operations", () => {
    const names = new Set(checks.map(({ family, name }) => `${family} ${name}`));
    expect(names.size, "names are unique within a family").toBe(checks.length);
    expect(checks.filter(({ name }) => name.endsWith("on random examples")).length).toBeGreaterThanOrEqual(
      rows.length,
    );
    const differentiable = (order: number): number =>
      new Set(rows.filter((row) => row.order >= order).map(({ op }) => op)).size;
    expect(differentiable(1)).toBeGreaterThan(120);
    expect(differentiable(2)).toBeGreaterThan(100);
    for (const op of [
      "softmax",
      "layerNorm",
      "conv2d",
      "scaledDotProductAttention",
      "crossEntropy",
      "matmul",
    ])
      expect(
        rows.some((row) => row.op === op && row.order === 2),
        op,
      ).toBe(true);
  });

  it("meets 0-d, empty, size 1 and rank 5 in every elementwise operation, and a zero-sized broadcast", () => {
    for (const row of rows.filter(
      ({ family, op }) => family === "unary" || (family === "activations" && op !== "glu"),
    )) {
      const shapes = row.instances.flatMap(({ operands }) => operands.map(({ shape }) => shape));
      expect([row.op, shapes.some(({ length }) => length === 0)]).toEqual([row.op, true]);
      expect([row.op, shapes.some((shape) => shape.includes(0))]).toEqual([row.op, true]);
      expect([row.op, shapes.some(({ length }) => length === 5)]).toEqual([row.op, true]);
    }
    const add = rows.find(({ op }) => op === "add")!;
    expect(
      add.instances.some(
        ({ operands: [a, b] }) => a!.shape.includes(0) && b !== undefined && !b.shape.includes(0),
      ),
    ).toBe(true);
  });
});

/** Layers without a case: one operation that has a row of its own, or what only holds others. */
const PLAIN: readonly string[] = [
  ...["ReLU", "LeakyReLU", "GELU", "SiLU", "Sigmoid", "Tanh", "Softmax", "Softmax2d", "LogSoftmax", "Mish"],
  ...["ELU", "SELU", "ReLU6", "Hardsigmoid", "Hardswish", "LogSigmoid", "Softsign", "RReLU"],
  ...["CrossEntropyLoss", "NLLLoss", "MSELoss", "L1Loss", "HuberLoss", "BCELoss", "BCEWithLogitsLoss"],
  ...["Embedding", "Flatten", "Identity", "Dropout", "Dropout1d", "Dropout2d"],
  ...["Module", "Layer", "Sequential", "Block", "ModuleList", "ModuleDict", "Recurrent"],
];

describe("every exported layer and loss of nn has a case", () => {
  const cases = new Set(layerChecks().map(({ name }) => name.split(/[ ,]/)[0]));
  const exported = Object.entries(nn).flatMap(([name, value]) =>
    typeof value === "function" && (value.prototype instanceof nn.Module || value === nn.Module)
      ? [name]
      : [],
  );

  it("is held against float64, or is one operation", () => {
    // Padding of one kind is one operation for any number of dimensions.
    const family = (name: string): string => (/Pad\dd$/.test(name) ? name.replace(/\dd$/, "") : name);
    const seen = new Set([...cases].map((name) => family(name as string)));
    const missing = exported.filter((name) => !seen.has(family(name)) && !PLAIN.includes(name));
    expect(missing, "add a case in packages/conformance/src/checks/layer-cases.ts").toEqual([]);
  });

  it("and the list of others names what there is, and nothing twice", () => {
    expect(PLAIN.filter((name) => !exported.includes(name) || cases.has(name))).toEqual([]);
  });
});
