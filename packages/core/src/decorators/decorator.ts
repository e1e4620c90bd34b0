import type { Backend, Capabilities, Support } from "../backend/backend.ts";
import type { Call } from "../backend/call.ts";
import type { BackendBuffer } from "../backend/view.ts";
import { OptionError } from "../errors.ts";

/**
 * A backend that hands everything to another one: the base of decorators, which override what they watch. Because
 * every operation passes `execute`, such a class is small, and decorators can be put around each other in any order.
 *
 * A decorated backend is a backend of its own: `use` it instead of the one it wraps, and do not mix tensors of both.
 */
export abstract class BackendDecorator implements Backend {
  readonly name: string;
  readonly capabilities: Capabilities;
  /** The backend inside. */
  readonly wrapped: Backend;
  readonly readSync?: (buffer: BackendBuffer, byteOffset: number, byteLength: number) => Uint8Array;

  /**
   * @param label what the decorator is called; the name becomes `label(name of the wrapped)`.
   * @param capabilities default those of the wrapped backend.
   */
  constructor(label: string, wrapped: Backend, capabilities: Capabilities = capabilitiesOf(label, wrapped)) {
    this.name = `${label}(${wrapped.name})`;
    this.wrapped = wrapped;
    this.capabilities = capabilities;
    if (wrapped.readSync !== undefined && capabilities.readSync)
      this.readSync = (buffer, byteOffset, byteLength) => this.readNow(buffer, byteOffset, byteLength);
  }

  get description(): string | undefined {
    return this.wrapped.description;
  }

  allocate(byteLength: number): BackendBuffer {
    return this.wrapped.allocate(byteLength);
  }

  free(buffer: BackendBuffer): void {
    this.wrapped.free(buffer);
  }

  write(buffer: BackendBuffer, byteOffset: number, bytes: Uint8Array): void {
    this.wrapped.write(buffer, byteOffset, bytes);
  }

  read(buffer: BackendBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    return this.wrapped.read(buffer, byteOffset, byteLength);
  }

  execute(call: Call): void {
    this.wrapped.execute(call);
  }

  supports(call: Call): Support {
    return this.wrapped.supports(call);
  }

  synchronize(): Promise<void> {
    return this.wrapped.synchronize();
  }

  dispose(): Promise<void> {
    return this.wrapped.dispose();
  }

  /** What `readSync` does, where the wrapped backend has it. */
  protected readNow(buffer: BackendBuffer, byteOffset: number, byteLength: number): Uint8Array {
    const { wrapped } = this;
    return (wrapped.readSync as NonNullable<Backend["readSync"]>).call(
      wrapped,
      buffer,
      byteOffset,
      byteLength,
    );
  }
}

/** What a call is called in messages and reports: its program, or which pass of a fused kernel it is; else nothing. */
export function callName(call: Call): string {
  if ("program" in call && call.program !== undefined) return call.program.name;
  return "attributes" in call && "pass" in call.attributes ? call.attributes.pass : "";
}

function capabilitiesOf(label: string, wrapped: Backend): Capabilities {
  if (typeof wrapped?.execute === "function") return wrapped.capabilities;
  throw new OptionError(`${label}: expected a backend to put around, as in ${label}(await cpu()).`);
}
