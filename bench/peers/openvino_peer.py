"""OpenVINO on the CPU: static shapes, told to be quick with one request and to keep to one precision."""

from bench import prepare, workload


def _start(case, precision):
    import openvino
    from openvino import properties
    from openvino.properties import hint

    core = openvino.Core()
    model = core.compile_model(
        core.read_model(prepare.folder_of("openvino", case) / "unet.xml"),
        "CPU",
        {
            hint.inference_precision: precision,
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            properties.inference_num_threads: case.threads,
        },
    )
    request = model.create_infer_request()
    feed = list(workload.inputs(case).values())

    def forward():
        return request.infer(feed, share_inputs=True, share_outputs=True)[0]

    return forward


def start(case):
    import openvino

    return _start(case, openvino.Type.f32)


def start_bf16(case):
    import openvino

    return _start(case, openvino.Type.bf16)
