#!/usr/bin/env python3
"""Counts the C++ tests of a run by the XML files in a folder: test_results.py FOLDER. Skipped ones with their reasons."""

import collections
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

SHOWN = 12  # reasons
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")  # GoogleTest writes parameters as they are


def main(folder: str) -> None:
    counts = collections.Counter()
    reasons = collections.Counter()
    for path in sorted(Path(folder).glob("*.xml")):
        text = path.read_bytes().decode(errors="replace")
        for case in ElementTree.fromstring(NOT_XML.sub("?", text)).iter("testcase"):
            result = "passed" if case.get("status") == "run" else "not run"
            if (skipped := case.find("skipped")) is not None:
                result = "skipped"
                lines = (skipped.get("message") or "no reason given").strip().splitlines()
                reasons[re.sub(r"\d+", "N", lines[-1])[:150]] += 1
            if case.find("failure") is not None:
                result = "failed"
            counts[result] += 1
    print("C++ tests: " + ", ".join(f"{count} {result}" for result, count in sorted(counts.items())))
    for reason, count in reasons.most_common(SHOWN):
        print(f"  {count:5} skipped: {reason}")
    if len(reasons) > SHOWN:
        print(f"        and {len(reasons) - SHOWN} reasons more")


if __name__ == "__main__":
    main(*sys.argv[1:])
