/// <reference types="@webgpu/types" />
import { BackendError } from "@nf/core";
import type { AdapterClass } from "./adapterClass.ts";

/** A device with what is known about where it comes from. */
export interface OpenDevice {
  readonly device: GPUDevice;
  readonly adapterClass: AdapterClass;
  /** Vendor, architecture and description, as far as the implementation tells. */
  readonly description: string;
  /** Invocations of a subgroup, or 0 where there are none or their number varies. */
  readonly subgroupSize: number;
  /** What must stay referenced for as long as the device lives. */
  readonly keep: unknown;
}

/** Limits that are asked for as high as the adapter has them. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
] as const;
const FEATURES: readonly GPUFeatureName[] = ["shader-f16", "subgroups", "timestamp-query"];

const globalNavigator = (): { readonly gpu?: GPU } | undefined =>
  Reflect.get(globalThis, "navigator") as { readonly gpu?: GPU } | undefined;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/**
 * WebGPU where this runs: of the browser, or of the package `webgpu` (Dawn) in Node.
 *
 * @throws BackendError with code NF_UNSUPPORTED where there is none, saying what to do
 */
async function findGpu(): Promise<GPU> {
  const own = globalNavigator()?.gpu;
  if (own !== undefined) return own;
  const process = Reflect.get(globalThis, "process") as { versions?: { node?: string } } | undefined;
  if (process?.versions?.node === undefined) {
    throw new BackendError(
      "webgpu: this browser has no WebGPU (navigator.gpu is missing). Serve the page over https or from localhost, or use @nf/backend-wasm.",
      "NF_UNSUPPORTED",
    );
  }
  // By a name that bundlers do not follow: in a page the package is not wanted.
  const name = "webgpu";
  let dawn: { create(options: readonly string[]): GPU };
  try {
    dawn = (await import(/* @vite-ignore */ name)) as typeof dawn;
  } catch (error) {
    const absent = error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
    throw new BackendError(
      absent
        ? "webgpu: Node needs the package webgpu for this backend: npm install webgpu"
        : `webgpu: the package webgpu is installed and does not load: ${messageOf(error)}. It has binaries for Linux, macOS and Windows; elsewhere use @nf/backend-wasm or @nf/backend-cpu.`,
      "NF_UNSUPPORTED",
      { cause: error },
    );
  }
  return dawn.create([]);
}

/**
 * Asks for a device with the adapter's own limits.
 *
 * @throws BackendError with code NF_UNSUPPORTED where there is no adapter or it gives no device
 */
export async function openDevice(powerPreference: GPUPowerPreference | undefined): Promise<OpenDevice> {
  const gpu = await findGpu();
  const adapter = await gpu.requestAdapter(powerPreference === undefined ? {} : { powerPreference });
  if (adapter === null) {
    throw new BackendError(
      "webgpu: there is no adapter: no graphics driver with Vulkan, Metal or Direct3D 12 was found. Install one, or use @nf/backend-wasm or @nf/backend-native.",
      "NF_UNSUPPORTED",
    );
  }
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      label: "NanoFlux",
      requiredFeatures: FEATURES.filter((feature) => adapter.features.has(feature)),
      requiredLimits: Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]])),
    });
  } catch (error) {
    throw new BackendError(
      `webgpu: the adapter gives no device: ${messageOf(error)}. Close what else uses the GPU and try again, or use @nf/backend-wasm.`,
      "NF_UNSUPPORTED",
      { cause: error },
    );
  }
  const { vendor, architecture, description, subgroupMinSize, subgroupMaxSize } = adapter.info;
  const fixed = device.features.has("subgroups") && subgroupMinSize === subgroupMaxSize;
  return {
    device,
    adapterClass: classOf(adapter.info),
    description: [vendor, architecture, description].filter((part) => part !== "").join(" "),
    subgroupSize: fixed ? (subgroupMinSize ?? 0) : 0,
    // Dawn ends with its instance, whoever still uses a device of it.
    keep: [gpu, adapter],
  };
}

function classOf(info: GPUAdapterInfo): AdapterClass {
  const text = `${info.vendor} ${info.architecture} ${info.description}`.toLowerCase();
  if (info.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|basic render/.test(text))
    return "software";
  return /nvidia|amd|radeon/.test(text) ? "discrete" : "integrated";
}
