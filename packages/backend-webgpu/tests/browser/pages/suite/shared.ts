/// <reference types="@webgpu/types" />

/**
 * Has all backends that are made from a `GPU` share one device, which keeps what it compiled: a software adapter compiles for
 * most of the time that tests take, and the suite makes a backend for each family. What comes with a device of one's own (its
 * loss, its end) is for other tests.
 *
 * @returns a `GPU` for `navigator.gpu`
 */
export function shareDevice(gpu: GPU): Pick<GPU, "requestAdapter"> {
  const kept: unknown[] = [];
  let shared: Promise<GPUAdapter | null> | undefined;
  const open = async (options?: GPURequestAdapterOptions): Promise<GPUAdapter | null> => {
    const adapter = await gpu.requestAdapter(options);
    if (adapter === null) return null;
    const request = adapter.requestDevice.bind(adapter);
    let device: Promise<GPUDevice> | undefined;
    const requestDevice = async (descriptor?: GPUDeviceDescriptor): Promise<GPUDevice> => {
      const own = await request(descriptor);
      const compile = own.createComputePipeline.bind(own);
      // Texts that were met before are found by the implementation, as long as what was made of them is alive.
      own.createComputePipeline = (pipeline) => {
        const compiled = compile(pipeline);
        kept.push(compiled, pipeline.compute.module);
        return compiled;
      };
      // Buffers of a backend that ended go when the collector finds them.
      own.destroy = () => undefined;
      return own;
    };
    adapter.requestDevice = (descriptor) => {
      device ??= requestDevice(descriptor);
      return device;
    };
    return adapter;
  };
  return {
    requestAdapter: (options) => {
      shared ??= open(options);
      return shared;
    },
  };
}
