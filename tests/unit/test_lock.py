"""The lock holds what pyproject.toml asks for, on every Python and system."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts import lock, moved  # noqa: E402

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SYSTEMS = {"linux": "Linux", "win32": "Windows", "darwin": "Darwin"}


def environment(python: str, system: str) -> dict[str, Any]:
    """The markers of a Python on a system."""
    found: dict[str, Any] = dict(default_environment())
    found.update(python_version=python, python_full_version=f"{python}.1")
    found.update(sys_platform=system, platform_system=SYSTEMS[system])
    return found


def pins(path: Path, markers: dict[str, Any]) -> dict[str, str]:
    """What is pinned for the environment; a name that is pinned twice there fails."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate(markers):
            (specifier,) = one.specifier
            assert specifier.operator == "=="
            assert one.name not in found
            found[one.name] = specifier.version
    return found


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_all_that_is_asked_for_is_locked(python: str, system: str) -> None:
    markers = environment(python, system)
    locked = pins(lock.CONSTRAINTS, markers) | pins(lock.TORCH_CONSTRAINTS, markers)
    asked = importlib.metadata.requires("spriteworks")
    assert asked
    extras = importlib.metadata.metadata("spriteworks").get_all("Provides-Extra") or []
    for one in map(Requirement, [*asked, *lock.BUILD]):
        marker = one.marker
        if one.name == "spriteworks":
            continue  # an extra of its own, whose parts are asked for by that
        if marker and not any(marker.evaluate(markers | {"extra": name}) for name in extras):
            continue  # an extra that this Python has not
        version = locked[canonicalize_name(one.name)]
        assert one.specifier.contains(version), f"{one}, and {version} is locked"


def test_torch_and_what_only_it_asks_for_are_apart() -> None:
    markers = environment("3.13", "linux")
    locked, torch = pins(lock.CONSTRAINTS, markers), pins(lock.TORCH_CONSTRAINTS, markers)
    assert {"torch", "sympy"} <= torch.keys()
    assert not torch.keys() & locked.keys()
    # CUDA's libraries are fixed by the torch that asks for them
    everything = [*torch, *locked]
    assert not [name for name in everything if name.startswith(("nvidia-", "cuda-", "triton"))]


@pytest.mark.parametrize("path", [lock.CONSTRAINTS, lock.TORCH_CONSTRAINTS], ids=lambda p: p.name)
def test_the_lock_names_no_place(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == lock.HEADER.strip()
    assert not [line for line in lines[1:] if "/" in line or "@" in line or "#" in line]


def test_what_moved_is_named() -> None:
    same = f"pytest=={importlib.metadata.version('pytest')}\n"
    here = "numpy==0.9 ; python_version > '3'\nnumpy==0.8 ; python_version < '3'\n"
    found = moved.moved(f"# a comment\n{same}{here}nobody-has-this==1\n")
    assert found == [f"numpy: 0.9 in the lock, {importlib.metadata.version('numpy')} here"]
