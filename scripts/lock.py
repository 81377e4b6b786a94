"""Locks what the two README commands install, for Python 3.10 and up on any system.

    python scripts/lock.py              # after a change of what pyproject.toml asks for
    python scripts/lock.py --upgrade    # the newest version of everything

Needs uv (`pip install uv`); `bootstrap.py`, which installs by these files, needs only pip. Writes

- `constraints.txt`: all that Spriteworks asks for with every extra, and what builds it. torch is
  not in it, so that a machine's own may stay.
- `constraints-torch.txt`: the torch for machines that have none, and what only torch asks for. A
  machine's own torch wants other versions of those: 2.5 asks for sympy 1.13.1 exactly.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
PROJECT = SCRIPTS.parent / "pyproject.toml"
CONSTRAINTS = SCRIPTS / "constraints.txt"
TORCH_CONSTRAINTS = SCRIPTS / "constraints-torch.txt"

OLDEST_PYTHON = "3.10"
# The newest that work with torch 2.4, the oldest that a machine may keep. Found by trying, since
# diffusers 0.37 and transformers 5.14 ask for less and cannot be imported with it.
FOR_OLD_TORCH = ["diffusers<0.37", "transformers<5.14"]
# The torch that the test suite ran with.
TORCH = "torch==2.13.0"
# What builds Spriteworks is installed beside it: pip older than 25.3 cannot pin what it builds with
# on its own. hatchling wants editables where a checkout is installed as it stands.
BUILD = ["hatchling>=1.27", "editables>=0.5"]

# torch for macOS asks for none of CUDA's libraries, whose versions torch for Linux fixes by itself.
WITHOUT_CUDA = "sys_platform == 'darwin'"

HEADER = "# Made by scripts/lock.py, which says how; do not edit.\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = ["--upgrade"] if parser.parse_args(arguments).upgrade else []
    try:
        locked = compiled(
            [str(PROJECT), "--all-extras", *upgrade],
            requirements=[*BUILD, *FOR_OLD_TORCH],
            # uv has no word for "leave out, with all that it asks for"; this is always false
            overrides=["torch ; python_version < '3'"],
            known=CONSTRAINTS,
        )
        CONSTRAINTS.write_text(HEADER + locked, encoding="utf-8", newline="\n")
        torch = compiled(
            ["--constraints", str(CONSTRAINTS), *upgrade],
            requirements=[TORCH],
            known=TORCH_CONSTRAINTS,
            environment=WITHOUT_CUDA,
        )
    except FileNotFoundError:
        print("lock.py needs uv: pip install uv", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"uv could not lock (exit status {error.returncode}); see above.", file=sys.stderr)
        return 1
    everywhere = torch.replace(f" and {WITHOUT_CUDA}", "").replace(f" ; {WITHOUT_CUDA}", "")
    # By the line: an extra may ask for on some Pythons only what torch asks for on all.
    already = set(locked.splitlines())
    alone = [line for line in everywhere.splitlines(True) if line.rstrip("\n") not in already]
    TORCH_CONSTRAINTS.write_text(HEADER + "".join(alone), encoding="utf-8", newline="\n")
    return 0


def compiled(
    arguments: list[str],
    requirements: list[str],
    known: Path,
    overrides: list[str] | None = None,
    environment: str = "",
) -> str:
    """The pinned requirements that uv finds; those in the file `known` stay where they can.

    `environment` is a marker that holds where the result will be used; empty: it holds anywhere.
    """
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        # only here does uv take it
        environments = [environment] if environment else []
        (work / "pyproject.toml").write_text(f"[tool.uv]\nenvironments = {environments}\n")
        (work / "requirements.in").write_text("\n".join(requirements))
        (work / "overrides.txt").write_text("\n".join(overrides or []))
        output = work / "locked.txt"
        if known.is_file():
            output.write_text(known.read_text(encoding="utf-8"), encoding="utf-8")
        command = ["uv", "pip", "compile", "requirements.in", *arguments]
        command += ["--universal", "--python-version", OLDEST_PYTHON, "--no-python-downloads"]
        # a package without wheels would be built with whatever is newest on that day
        command += ["--only-binary", ":all:", "--override", "overrides.txt"]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--quiet"]
        subprocess.run([*command, "--output-file", str(output)], cwd=work, check=True)
        return output.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
