"""Measures which lines the tests run; called by `./scripts/test --coverage`.

    python scripts/measure_coverage.py [pytest arguments]

First the unit tests, over what they can reach: pyproject.toml says what that is, and how much of it
is the least. Then, where a real ComfyUI is found, the tests that run it, over comfy_nodes/native,
which runs in ComfyUI's own Python only. Nothing is installed there: its processes find a copy of
coverage, and what starts it, in a temporary folder on PYTHONPATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import coverage

REPOSITORY = Path(__file__).resolve().parent.parent
NATIVE = REPOSITORY / "comfy_nodes" / "native"
PYTEST = [sys.executable, "-m", "pytest"]

# A server is ended by SIGTERM, upon which it must still write what it has counted.
CONFIG = """[run]
source = {source}
data_file = {data}
parallel = true
sigterm = true
disable_warnings = no-data-collected, module-not-imported, couldnt-parse
"""

# Only in ComfyUI's Python: our own processes inherit PYTHONPATH too.
STARTER = """import sys

if sys.prefix != {prefix!r}:
    import coverage

    coverage.process_startup()
"""


def main(arguments: list[str]) -> int:
    print("== unit tests, over what they can reach", flush=True)
    unit = [*PYTEST, "tests/unit", "--cov", "--cov-report=term:skip-covered", *arguments]
    status = subprocess.call(unit, cwd=REPOSITORY)
    print("== tests on real ComfyUI, over comfy_nodes/native", flush=True)
    return status or native(arguments)


def native(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="spriteworks-coverage-") as name:
        folder = Path(name)
        data = folder / "data"
        data.mkdir()
        config = folder / "config"
        config.write_text(CONFIG.format(source=NATIVE, data=data / "lines"), encoding="utf-8")
        (folder / "sitecustomize.py").write_text(
            STARTER.format(prefix=sys.prefix), encoding="utf-8"
        )
        # Its C part is for our Python; another one counts without, which is slower.
        shutil.copytree(Path(coverage.__file__).parent, folder / "coverage")
        paths = [name, os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "COVERAGE_PROCESS_START": str(config),
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }
        tests = [*PYTEST, "-m", "comfyui and not slow and not gpu and not benchmark", *arguments]
        status = subprocess.call(tests, cwd=REPOSITORY, env=environment)
        if not any(data.iterdir()):
            print("Nothing was counted: no real ComfyUI was found, or no test ran on it.")
            return status
        report = [sys.executable, "-m", "coverage"]
        options = [f"--rcfile={config}"]
        subprocess.run([*report, "combine", "--quiet", *options], cwd=REPOSITORY, check=True)
        subprocess.run([*report, "report", "--show-missing", *options], cwd=REPOSITORY, check=True)
        return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
