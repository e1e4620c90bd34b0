"""onnxruntime on the CPU: one MatMul whose right factor is a constant, which it packs beforehand."""

import numpy as np
import onnx
import onnxruntime
import peer
from onnx import TensorProto, helper, numpy_helper


def matmul(work, threads):
    rows, depth, columns = work["rows"], work["depth"], work["columns"]
    weight = numpy_helper.from_array(peer.values([depth, columns], 2), "weight")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, depth])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    # Input and output lie in memory that is kept.
    binding = session.io_binding()
    binding.bind_cpu_input("x", np.ascontiguousarray(peer.values([rows, depth], 1)))
    result = onnxruntime.OrtValue.ortvalue_from_shape_and_type([rows, columns], np.float32)
    binding.bind_ortvalue_output("y", result)
    run = lambda: session.run_with_iobinding(binding)
    run()
    numbers = result.numpy()
    check = [float(numbers[0, 0]), float(numbers[-1, -1])]
    return {"run": run, "check": check, "version": onnxruntime.__version__}


peer.serve({"matmul": matmul, "otherwise": "it does not train"})
