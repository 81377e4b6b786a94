"""Names the packages that are not of the version the lock has; run in the environment it is about.

.venv-newest/bin/python scripts/moved.py scripts/constraints.txt scripts/constraints-torch.txt
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version


def main(arguments: list[str]) -> int:
    found = moved("".join(Path(path).read_text(encoding="utf-8") for path in arguments))
    for line in found:
        print(line)
    if not found:
        print("Nothing differs from the lock.")
    return 0


def moved(lock: str) -> list[str]:
    """A line for each package that is installed in another version than `lock` has for here."""
    found = []
    for name, locked in locked_here(lock):
        try:
            # what follows a + names the build, not the version: torch 2.13.0+cpu
            installed = Version(importlib.metadata.version(name)).public
        except importlib.metadata.PackageNotFoundError:
            continue
        if Version(installed) != Version(locked):
            found.append(f"{name}: {locked} in the lock, {installed} here")
    return found


def locked_here(lock: str) -> list[tuple[str, str]]:
    """Name and version of what `lock` has for this Python and this system."""
    lines = [line for line in lock.splitlines() if line and not line.startswith("#")]
    requirements = [Requirement(line) for line in lines]
    return [
        (one.name, str(one.specifier).removeprefix("=="))
        for one in requirements
        if one.marker is None or one.marker.evaluate()
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
