"""Whom unetd is compared with. A peer's module is imported only in the peer's own process."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    title: str  # in tables and plots
    module: str  # bench.peers.MODULE
    start: str  # its function: (case) -> forward() -> array of the answer
    needs: tuple  # what bench/prepare.py makes for it
    memory: float  # peak resident memory, in weights of the model in fp32: a rough bound, for planning
    distributions: tuple  # Python distributions whose versions stand in results
    capped: bool = True  # it can be told to use AVX2 only


_TORCH = ("torch", "diffusers")
PEERS = {
    "openvino": Peer("OpenVINO", "openvino_peer", "start", ("openvino",), 2.0, ("openvino",)),
    "onnxruntime": Peer("ONNX Runtime", "onnxruntime_peer", "start", ("onnx",), 1.4, ("onnxruntime",), capped=False),
    "compile": Peer("torch.compile, frozen", "torch_peers", "start_compiled", (), 2.9, _TORCH),
    "eager": Peer("diffusers eager", "torch_peers", "start_eager", (), 1.2, _TORCH),
    "eager-math": Peer("diffusers AttnProcessor", "torch_peers", "start_math", (), 1.2, _TORCH),
    "eager-sliced": Peer("diffusers SlicedAttnProcessor", "torch_peers", "start_sliced", (), 1.2, _TORCH),
    "openvino-bf16": Peer(
        "OpenVINO bf16", "openvino_peer", "start_bf16", ("openvino",), 2.0, ("openvino",), capped=False
    ),
}
FLOAT32_PEERS = ("openvino", "onnxruntime", "compile", "eager")
BFLOAT16_PEERS = ("openvino-bf16",)
# What oneDNN (in OpenVINO and torch), ATen and MKL read.
AVX2_ENVIRONMENT = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def default_peers(case):
    names = BFLOAT16_PEERS if case.dtype == "bfloat16" else FLOAT32_PEERS
    return [name for name in names if PEERS[name].capped or not case.isa]
