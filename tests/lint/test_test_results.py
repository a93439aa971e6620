"""scripts/test_results.py: what it says of GoogleTest's files."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "test_results.py"
REPORT = b"""<?xml version="1.0" encoding="UTF-8"?>
<testsuites><testsuite name="S">
<testcase name="a" value_param="\x01\xff" status="run" />
<testcase name="b" status="run"><failure message="no" /></testcase>
<testcase name="c" status="run"><skipped message="x.cc:12&#x0A;no CUDA device 7" /></testcase>
<testcase name="d" status="run"><skipped message="x.cc:12&#x0A;no CUDA device 8" /></testcase>
<testcase name="e" status="notrun" />
</testsuite></testsuites>"""


def test_counts_and_reasons(tmp_path):
    (tmp_path / "one.xml").write_bytes(REPORT)
    said = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        "C++ tests: 1 failed, 1 not run, 1 passed, 2 skipped",
        "      2 skipped: no CUDA device N",
    ]
