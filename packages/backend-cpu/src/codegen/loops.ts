import type { Program } from "@nf/core";

/** How a view moves along the innermost loop: not at all, to the next element, or by a stride known at run time. */
export type InnerStep = 0 | 1 | 2;

/** The class of a stride. */
export function innerStep(stride: number): InnerStep {
  return stride === 0 ? 0 : stride === 1 ? 1 : 2;
}

/**
 * Writes loop nests over strided views. In generated code `d3` is the size of dimension 3 and `i3` its counter, `a2`
 * the array of view 2 and `s2_3` its stride along dimension 3. Positions are kept as int32 (`| 0`): no buffer is
 * longer, and the compiler then drops its overflow checks.
 */
export class LoopNest {
  private readonly lines: string[] = [];
  private readonly views: number;
  private readonly rank: number;
  private readonly steps: readonly InnerStep[];
  /** Name of each view's position at the present depth. */
  private positions: string[];
  private readonly closed: string[][] = [];

  /**
   * @param steps how each view moves along the last dimension
   */
  constructor(rank: number, steps: readonly InnerStep[]) {
    this.views = steps.length;
    this.rank = rank;
    this.steps = steps;
    this.positions = steps.map((_, view) => `o${view}`);
  }

  /** Declarations of arrays, offsets, sizes and strides from the parameters `arrays`, `offsets`, `sizes`, `strides`. */
  declarations(): string {
    const lines: string[] = [];
    for (let view = 0; view < this.views; view++) {
      lines.push(`const a${view} = arrays[${view}], o${view} = offsets[${view}] | 0;`);
      for (let dimension = 0; dimension < this.rank; dimension++) {
        if (dimension < this.rank - 1 || this.steps[view] === 2) {
          lines.push(`const s${view}_${dimension} = strides[${view * this.rank + dimension}] | 0;`);
        }
      }
    }
    for (let dimension = 0; dimension < this.rank; dimension++) {
      lines.push(`const d${dimension} = sizes[${dimension}] | 0;`);
    }
    return lines.join("\n");
  }

  /** Adds a statement. */
  line(text: string): void {
    this.lines.push(text);
  }

  /** Opens the loop over a dimension, from `start` (a multiple of the step, or 0) to `end`. */
  open(dimension: number, start = "0", end = `d${dimension}`): void {
    const counter = `i${dimension}`;
    const heads = [`${counter} = ${start}`];
    const steps = [`${counter} = (${counter} + 1) | 0`];
    this.closed.push(this.positions);
    this.positions = this.positions.map((position, view) => {
      const stride = this.strideName(view, dimension);
      if (stride === "0") return position;
      if (stride === "1") return `(${position} + ${counter}) | 0`;
      const name = `p${view}_${dimension}`;
      heads.push(
        `${name} = ${start === "0" ? position : `(${position} + Math.imul(${start}, ${stride})) | 0`}`,
      );
      steps.push(`${name} = (${name} + ${stride}) | 0`);
      return name;
    });
    this.lines.push(`for (let ${heads.join(", ")}; ${counter} < ${end}; ${steps.join(", ")}) {`);
  }

  /** Closes the innermost open loop. */
  close(): void {
    this.positions = this.closed.pop() as string[];
    this.lines.push("}");
  }

  /** Where a view's element lies at this point of the nest. */
  position(view: number): string {
    return this.positions[view] as string;
  }

  /** Whether a view stays where it is along the last dimension. */
  still(view: number): boolean {
    return this.steps[view] === 0;
  }

  /** The code written so far. */
  text(): string {
    return this.lines.join("\n");
  }

  private strideName(view: number, dimension: number): string {
    const step = this.steps[view] as InnerStep;
    return dimension < this.rank - 1 || step === 2 ? `s${view}_${dimension}` : String(step);
  }
}

/** The text of a coordinate: the counter of the dimension that its axis became, or 0. */
export function coordinateText(program: Program, dimensions: readonly number[], axis: number): string {
  const dimension = dimensions[program.coordinates.indexOf(axis)] as number;
  return dimension < 0 ? "0" : `i${dimension}`;
}
