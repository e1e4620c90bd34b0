import { type Backend, BackendError } from "@nf/core";
import { openDevice } from "./adapter.ts";
import { WebgpuBackend } from "./backend.ts";
import { Gpu } from "./device/gpu.ts";
import { checkOptions, type WebgpuOptions } from "./options.ts";

/**
 * Makes a backend on a GPU: of the browser, or in Node through the package `webgpu`.
 *
 * Reads are asynchronous: `await tensor.data()` works, `dataSync()` does not.
 *
 * @throws OptionError for an option that does not exist or is out of its domain; BackendError where there is no WebGPU or
 * no adapter, or one that computes wrong, with what to do
 */
export async function createBackend(options: WebgpuOptions = {}): Promise<Backend> {
  checkOptions(options);
  const { powerPreference, maxBytes = Infinity, adapterClass } = options;
  const open = await openDevice(powerPreference);
  const gpu = new Gpu(adapterClass === undefined ? open : { ...open, adapterClass });
  try {
    await probe(gpu);
  } catch (error) {
    gpu.dispose();
    throw error;
  }
  return new WebgpuBackend(gpu, maxBytes);
}

const PROBE_SIZE = 256;

/** Runs a kernel and looks at what comes out: an adapter that is listed may still not compute. */
async function probe(gpu: Gpu): Promise<void> {
  const shader = gpu.shader("probe", () => ({
    label: "probe",
    buffers: [{ name: "out", type: "f32", access: "write" }],
    geometry: ["factor"],
    params: ["f32"],
    workgroup: 64,
    body: "out[invocation] = f32(i32(invocation) * geometry.factor) + params.p0;",
  }));
  const buffer = gpu.allocate(
    4 * PROBE_SIZE,
    gpu,
    () => new BackendError("webgpu: the adapter has no memory."),
  );
  gpu.dispatch(shader, [buffer], [3], [0.5], PROBE_SIZE / 64);
  const bytes = await gpu.read(buffer, 0, 4 * PROBE_SIZE);
  gpu.free(buffer);
  const wrong = Array.from(new Float32Array(bytes.buffer)).findIndex((value, i) => value !== 3 * i + 0.5);
  if (wrong >= 0) {
    throw new BackendError(
      `webgpu: the adapter (${gpu.description}) computes wrong: element ${wrong} of a test. Use another driver or backend.`,
      "NF_UNSUPPORTED",
    );
  }
}
