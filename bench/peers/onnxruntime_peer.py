"""ONNX Runtime on the CPU: every optimisation, threads that spin as they do by default."""

from bench import prepare, workload


def start(case):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = case.threads
    session = onnxruntime.InferenceSession(
        str(prepare.folder_of("onnx", case) / "unet.onnx"), options, providers=["CPUExecutionProvider"]
    )
    taken = {value.name for value in session.get_inputs()}
    feed = {name: value for name, value in workload.inputs(case).items() if name in taken}

    def forward():
        return session.run(None, feed)[0]

    return forward
