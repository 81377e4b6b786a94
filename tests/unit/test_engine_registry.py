"""What happens when the engine's nodes, or the libraries that they need, cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.engine.serving.registry import NodeRegistry
from orchestrator.errors import ServerStartFailed

REPOSITORY = Path(__file__).resolve().parents[2]


# The nodes import torchsde; diffusers comes after them, for the jobs.
@pytest.mark.parametrize("library", ["torchsde", "diffusers"])
def test_the_process_ends_with_a_sentence(library: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / library
    broken.mkdir(parents=True)
    text = f"raise ImportError('{library} was built\\nfor another Python')\n"
    (broken / "__init__.py").write_text(text, encoding="utf-8")
    paths = [str(broken.parent), str(REPOSITORY)]
    answer = subprocess.run(
        [sys.executable, "-m", "orchestrator.engine", "--port", "0"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == ServerStartFailed.exit_code, answer.stderr
    last = answer.stderr.splitlines()[-1]
    assert f"nodes cannot be loaded: ImportError: {library} was built for another Python." in last
    assert "Traceback" not in answer.stderr
    # It may have listened: importing takes longer than that. Then it was said as always.
    assert all(json.loads(line)["event"] == "listening" for line in answer.stdout.splitlines())


def _fails() -> list[type]:
    raise ImportError("no such library")


@pytest.mark.parametrize(
    ("load", "afterwards"), [(_fails, lambda: None), (lambda: [], _fails)], ids=["nodes", "then"]
)
def test_whoever_asks_for_nodes_is_refused(
    load: Callable[[], list[type]], afterwards: Callable[[], None]
) -> None:
    registry = NodeRegistry(load, afterwards)
    assert not registry.failed
    registry.start()
    with pytest.raises(ServerStartFailed, match="no such library"):
        registry.settled()
    assert registry.failed
    for ask in (registry.nodes, registry.check):
        with pytest.raises(ServerStartFailed, match="no such library"):
            ask()
