import type { Backend } from "../backend/backend.ts";
import type { RequiredKernel } from "../backend/call.ts";
import type { DType } from "../dtype.ts";
import { BackendError } from "../errors.ts";
import { Pool } from "../memory/pool.ts";
import { show } from "../ops/options.ts";

/** What core keeps for one backend: its pool and its counters. */
export class Device {
  readonly backend: Backend;
  readonly pool: Pool;
  /** Name for messages; numbered where several backends share one. */
  readonly label: string;
  /** Tensor handles that are alive. */
  liveTensors = 0;
  /** Tensors that the garbage collector found before anything ended them. */
  leaks = 0;

  /** Dtypes of the backend's `map`: looked up for every new tensor, so that it must cost next to nothing. */
  readonly maps: Readonly<Partial<Record<DType, true>>>;
  private readonly dtypes: ReadonlyMap<RequiredKernel, ReadonlySet<DType>>;

  constructor(backend: Backend, label: string) {
    this.backend = backend;
    const declared = Object.entries(backend.capabilities.dtypes) as [RequiredKernel, readonly DType[]][];
    this.maps = Object.fromEntries(backend.capabilities.dtypes.map.map((dtype) => [dtype, true]));
    this.dtypes = new Map(declared.map(([kernel, dtypes]) => [kernel, new Set(dtypes)]));
    this.pool = new Pool(backend);
    this.label = label;
  }

  /** Whether the backend says that a kernel takes a dtype. */
  declares(kernel: RequiredKernel, dtype: DType): boolean {
    return this.dtypes.get(kernel)?.has(dtype) === true;
  }
}

const devices = new WeakMap<Backend, Device>();
const namesakes = new Map<string, number>();
let current: Device | undefined;

/** Refuses what is not a backend. @throws BackendError */
function checkBackend(op: string, backend: unknown): void {
  const given = backend as Partial<Backend> | null | undefined;
  if (typeof given?.execute !== "function" || typeof given.allocate !== "function") {
    throw new BackendError(`${op}: expected a backend, as createBackend() gives, got ${show(backend)}.`);
  }
}

/** The device of a backend, made at first sight. @param op that was given the backend, for messages */
export function deviceOf(backend: Backend, op = "use"): Device {
  let device = devices.get(backend);
  if (device === undefined) {
    checkBackend(op, backend);
    const count = (namesakes.get(backend.name) ?? 0) + 1;
    namesakes.set(backend.name, count);
    device = new Device(backend, count === 1 ? backend.name : `${backend.name}#${count}`);
    devices.set(backend, device);
  }
  return device;
}

/** Makes a device the one that new tensors live on. */
export function setCurrentDevice(device: Device | undefined): void {
  current = device;
}

/** The device that new tensors live on. */
export function currentDevice(): Device {
  if (current === undefined) {
    throw new BackendError(
      "No backend is in use. Install one (npm install @nf/backend-<name>) and choose it before the first tensor: " +
        "await use(createBackend()), with createBackend imported from it.",
      "NF_NO_BACKEND",
    );
  }
  return current;
}
