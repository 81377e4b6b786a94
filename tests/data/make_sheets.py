"""Writes the golden files of tests/data/sheets from the frames of tests/unit/sample_sheet.py."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "unit")]

from comfy_nodes.formats.sheets import FORMATS, write  # noqa: E402
from comfy_nodes.ops.sheet import packed  # noqa: E402
from sample_sheet import animations, frames  # noqa: E402


def main() -> None:
    test = runpy.run_path(str(HERE.parent / "unit" / "test_sheet_formats.py"))
    files = write(packed(frames(), animations()), "hero", FORMATS)
    for name in test["GOLDEN"]:
        (HERE / "sheets" / name).write_bytes(files[name])


if __name__ == "__main__":
    main()
