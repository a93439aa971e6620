"""Makes src/unetd/services.binpb, the descriptors of the server's messages and calls, out of its .proto files.

Descriptors instead of generated code: they suit every version of protobuf's runtime.
"""

import os
import pathlib

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = pathlib.Path(__file__).resolve().parent
SERVER = HERE.parent.parent / "proto"
OWN = HERE / "proto"  # google.rpc: how the server says when to try again
SOURCES = ["inference/grpc_service.proto", "unetd/v1/admin.proto", "unetd/v1/denoiser.proto", "google/rpc/retry.proto"]


class ServicesHook(BuildHookInterface):
    def initialize(self, version, build_data):
        target = HERE / "src" / "unetd" / "services.binpb"
        if SERVER.is_dir():
            compile_services(target)
        elif not target.is_file():
            raise FileNotFoundError(f"{SERVER}: build in a clone of unetd, or from a source distribution")


def compile_services(target):
    import grpc_tools
    from grpc_tools import protoc

    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    folders = [f"--proto_path={folder}" for folder in (SERVER, OWN, well_known)]
    fresh = target.with_suffix(f".{os.getpid()}")  # then renamed, so that nobody reads half a file
    if protoc.main(["protoc", *folders, "--include_imports", f"--descriptor_set_out={fresh}", *SOURCES]) != 0:
        raise RuntimeError("protoc could not read the .proto files; what it said is above")
    fresh.replace(target)
