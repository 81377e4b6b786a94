"""Record anew what tests know of real ComfyUI, except what takes a browser.

    python tests/data/record.py ~/comfy/ComfyUI

runs each recorder here against that ComfyUI, on the CPU and with folders of its own. What changed
is then seen with `git diff --stat tests/data`; recording the same version again changes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from orchestrator.local.launch import python_of  # noqa: E402

# Run in ComfyUI's folder by its own Python, with the folder to write to.
INSIDE = ("make_sampler_reference.py", "make_node_reference.py")
# Run by ours with ComfyUI's folder; each starts its own server. The editor's recorders belong here
# too, but need a browser and are commands of their own.
OUTSIDE = ("record_comfyui.py",)


def record(folder: Path) -> None:
    """Run every recorder against the ComfyUI of `folder`."""
    with tempfile.TemporaryDirectory() as byte_code:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": byte_code}
        commands = [[python_of(folder), str(HERE / name), str(HERE)] for name in INSIDE]
        commands += [[sys.executable, str(HERE / name), str(folder)] for name in OUTSIDE]
        for command in commands:
            print(Path(command[1]).name, flush=True)
            subprocess.run(command, cwd=folder, env=environment, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comfyui", type=Path, help="folder of ComfyUI")
    record(parser.parse_args().comfyui.expanduser().resolve())


if __name__ == "__main__":
    main()
