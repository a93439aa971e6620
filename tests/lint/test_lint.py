"""scripts/lint finds what it is there to find."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def lint(folder, files):
    """(exit status, output) of lint over a tree of these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "scripts").mkdir(exist_ok=True)
    shutil.copy(ROOT / "scripts" / "lint", folder / "scripts" / "lint")
    shutil.copy(ROOT / ".clang-format", folder / ".clang-format")
    done = subprocess.run([folder / "scripts" / "lint"], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def header(*lines):
    return "#pragma once\n\n" + "".join(f"{line}\n" for line in lines)


GOOD = {
    "server/base/status.h": header("// All is well."),
    "server/plan/plan.h": header('#include "server/base/status.h"'),
    "backends/api/unetd_backend.h": header("// The ABI."),
    "backends/cpu/plugin.cc": '#include "backends/api/unetd_backend.h"\n',
    "server/settings/settings.h": header("#include <nlohmann/json.hpp>", "", 'inline constexpr char kDefaultBackend[] = "cpu";'),
    "server/attention/table.cc": 'const char* kAlgorithm = "memory_efficient";\n',
    "server/rpc/service.cc": "#include <grpcpp/server.h>\n",
}


def test_a_good_tree_passes(tmp_path):
    status, output = lint(tmp_path, GOOD)
    assert status == 0, output
    assert "lint: 0 problems" in output


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("server/base/a.cc", '#include "server/plan/plan.h"\n', "server/base must not include server/plan"),
        ("server/weights/a.cc", '#include "server/settings/settings.h"\n', "must not include server/settings"),
        ("server/cellar/a.cc", "int a;\n", "server/cellar is no room"),
        ("server/base/a.cc", '#include "backends/cpu/plugin.h"\n', "server/ sees only backends/api"),
        ("backends/cpu/a.cc", '#include "server/base/status.h"\n', "nothing in backends/ includes server/"),
        ("backends/cuda/a.cc", '#include "backends/cpu/x.h"\n', "backends/cuda must not include backends/cpu"),
        ("client/a.cc", '#include "server/plan/plan.h"\n', "client/ must not include server/plan"),
        ("server/plan/a.cc", "#include <grpcpp/server.h>\n", "protobuf and gRPC only in"),
        ("server/plan/a.cc", '#include "unetd/v1/admin.pb.h"\n', "protobuf and gRPC only in"),
        ("server/plan/a.cc", "#include <nlohmann/json.hpp>\n", "JSON only in"),
        ("server/plan/a.cc", "#include <cuda_runtime.h>\n", "device headers only in"),
        ("server/plan/a.cc", '#include "plan.h"\n', '"plan.h" is no file'),
        ("server/plan/a.cc", 'const char* kName = "cpu";\n', 'here is "cpu"'),
        ("server/plan/a.cc", "static bool registered = RegisterPlan(1);\n", "static initialiser"),
        ("server/plan/a.cc", "int  a ;\n", "server/plan/a.cc: not formatted"),
        ("server/plan/a.cc", "// TO" + "DO: later\n", "finish it"),
        ("server/plan/a.h", "int a();\n", "no include guard"),
        ("scripts/a", "#!/bin/bash\nif\n", "syntax error"),
        ("scripts/a", "#!/bin/bash\ntrue\n", "not executable"),
        ("bench/a.py", "def a(:\n", "Python"),
        ("config/a.json", '{"a": }', "JSON"),
    ],
)
def test_it_finds(tmp_path, name, text, words):
    status, output = lint(tmp_path, {**GOOD, name: text})
    assert status == 1, output
    assert words in output


def test_long_files_are_noted_and_pass(tmp_path):
    status, output = lint(tmp_path, {**GOOD, "server/plan/long.cc": "int a();\n" * 301})
    assert status == 0, output
    assert "note: server/plan/long.cc: 301 lines" in output
