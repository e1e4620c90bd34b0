import { webgpu } from "@nf/backend-webgpu";
import { rand, use } from "@nf/core";

/** How a read ended whose device was lost, and what a new backend computed. */
export interface Lost {
  readonly error: string;
  readonly milliseconds: number;
  readonly sum: number;
}

/** Loses the device while a product is being computed, and begins anew. */
export async function lose(): Promise<Lost> {
  const first = await use(webgpu());
  const x = rand([256, 256]);
  const read = x.matmul(x).sum().item();
  const device = Reflect.get(Reflect.get(first, "gpu") as object, "device") as { destroy(): void };
  device.destroy();
  const started = performance.now();
  const error = await read.then(
    () => "no error",
    (reason: unknown) => String(reason),
  );
  const milliseconds = performance.now() - started;
  await first.dispose();
  const second = await use(webgpu());
  const sum = await rand([10]).mul(0).add(1).sum().item();
  await second.dispose();
  return { error, milliseconds, sum };
}
