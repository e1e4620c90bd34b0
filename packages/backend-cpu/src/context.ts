import type { Program } from "@nf/core";
import { Workspace } from "./workspace.ts";

/** What the kernels of one backend instance share: its mode, what it compiled, scratch memory. */
export interface Context {
  /** Whether programs become JavaScript functions; otherwise they are interpreted. */
  readonly codegen: boolean;
  readonly workspace: Workspace;
}

/** A fresh context. */
export function makeContext(codegen: boolean): Context {
  return { codegen, workspace: new Workspace() };
}

/** Values kept by program, looked up by its number. */
export class ByProgram<T> {
  private readonly values: (T | undefined)[] = [];
  private readonly make: (program: Program) => T;

  constructor(make: (program: Program) => T) {
    this.make = make;
  }

  /** The program's value, made at the first look. */
  get(program: Program): T {
    let value = this.values[program.id];
    if (value === undefined) {
      value = this.make(program);
      this.values[program.id] = value;
    }
    return value;
  }
}
