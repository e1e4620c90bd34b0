import type { ComputeDType } from "@nf/core";
import { preludeFor } from "../wgsl/prelude.ts";
import type { BufferAccess, Layouts, StorageLayout } from "./layouts.ts";

/** A storage buffer as a shader declares it. */
export interface ShaderBuffer {
  readonly name: string;
  /** Type of its elements in WGSL, for example `f32`, `vec4<u32>` or `atomic<u32>`. */
  readonly type: string;
  readonly access: BufferAccess;
}

/**
 * What a compute shader is made of. Its WGSL sees the buffers by name, whole numbers as `geometry.<name>` (i32), the call's
 * changing numbers as `params.p0`, `params.p1`, …, and in `body`, the statements of the entry point: `group` (index of the
 * work group, folded into one dimension unless `grid`), `lane` (index in the work group) and `invocation` (both).
 */
export interface ShaderSource {
  /** For messages and profiles: the kernel and what it computes. */
  readonly label: string;
  readonly buffers: readonly ShaderBuffer[];
  /** Names of the whole numbers, in the order in which they are given. */
  readonly geometry: readonly string[];
  readonly params: readonly ComputeDType[];
  /** Invocations of a work group. */
  readonly workgroup: number;
  /** Whether work groups lie in a grid: `body` sees `cell: vec3<u32>` instead of `group`, and no `invocation`. */
  readonly grid?: boolean;
  /** Whether it uses subgroups: `body` sees `sublane`, the invocation's index in its own. */
  readonly subgroups?: boolean;
  /** Numbers of a vector that the prelude's F, I, U and B stand for; default 1. */
  readonly width?: 1 | 4;
  /** Declarations before the entry point. */
  readonly declarations?: string;
  readonly body: string;
}

/** A compiled shader. */
export interface Shader {
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly storage: StorageLayout;
  /** Which buffers it writes. */
  readonly writes: readonly boolean[];
  readonly geometry: number;
  readonly params: readonly ComputeDType[];
}

/** Types of parameters in uniform memory, which holds no bool. */
const UNIFORM_TYPE: Readonly<Record<ComputeDType, string>> = {
  f32: "f32",
  f64: "f32",
  i32: "i32",
  u32: "u32",
  bool: "u32",
};

/** The whole text of a shader. */
export function printShader(source: ShaderSource): string {
  const {
    buffers,
    geometry,
    params,
    workgroup,
    grid = false,
    width = 1,
    declarations = "",
    body,
    subgroups = false,
  } = source;
  const mode = (access: BufferAccess): string => (access === "read" ? "read" : "read_write");
  const lines = buffers.map(
    ({ name, type, access }, binding) =>
      `@group(0) @binding(${binding}) var<storage, ${mode(access)}> ${name}: array<${type}>;`,
  );
  if (subgroups) lines.unshift("enable subgroups;");
  if (geometry.length > 0) {
    lines.push(`struct Geometry { ${geometry.map((name) => `${name}: i32`).join(", ")} }`);
    lines.push("@group(1) @binding(0) var<uniform> geometry: Geometry;");
  }
  if (params.length > 0) {
    lines.push(
      `struct Params { ${params.map((dtype, index) => `p${index}: ${UNIFORM_TYPE[dtype]}`).join(", ")} }`,
    );
    lines.push("@group(2) @binding(0) var<uniform> params: Params;");
  }
  lines.push(preludeFor(`${declarations}\n${body}`, width), declarations);
  const place = grid
    ? "let cell = workgroup;"
    : `let group = workgroup.x + workgroup.y * workgroups.x;\n  let invocation = group * ${workgroup}u + lane;`;
  lines.push(`@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32${subgroups ? ", @builtin(subgroup_invocation_id) sublane: u32" : ""}) {
  ${place}
${body}
}`);
  return lines.filter((line) => line !== "").join("\n");
}

/** Compiles a shader. What WGSL finds wrong comes to `failed`, later: compilation is asynchronous. */
export function compileShader(
  device: GPUDevice,
  layouts: Layouts,
  source: ShaderSource,
  failed: (error: Error) => void,
): Shader {
  const storage = layouts.of(source.buffers.map(({ access }) => access));
  const code = printShader(source);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: source.label, code });
  const pipeline = device.createComputePipeline({
    label: source.label,
    layout: layouts.pipeline(storage, source.params.length > 0),
    compute: { module, entryPoint: "main" },
  });
  device.popErrorScope().then(
    (error) => {
      if (error !== null) failed(new Error(`${source.label}: ${error.message}\n${numbered(code)}`));
    },
    () => {
      // The device is lost, which is reported where it matters.
    },
  );
  return {
    label: source.label,
    pipeline,
    storage,
    writes: source.buffers.map(({ access }) => access === "write"),
    geometry: source.geometry.length,
    params: source.params,
  };
}

const numbered = (code: string): string =>
  code
    .split("\n")
    .map((line, index) => `${String(index + 1).padStart(4)} ${line}`)
    .join("\n");
