"""@comfyorg/sdk, unchanged, against the service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from orchestrator.testing import FakeServer, Script
from service_world import serving, until

CLIENT = Path(__file__).parent.parent / "data" / "typescript_client.mjs"


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """The program, beside the SDK that it imports."""
    named = os.environ.get("SPRITEWORKS_TEST_NPM")
    folder = Path(named) / "node_modules" if named else None
    if folder is None or not (folder / "@comfyorg" / "sdk").is_dir() or not shutil.which("node"):
        pytest.skip(
            "needs node, and SPRITEWORKS_TEST_NPM, a folder in which `npm install @comfyorg/sdk` "
            "was run"
        )
    (tmp_path / "node_modules").symlink_to(folder, target_is_directory=True)
    return Path(shutil.copy(CLIENT, tmp_path))


def test_it_runs_watches_and_cancels(tmp_path: Path, client: Path) -> None:
    with FakeServer() as fake, serving(tmp_path / "data", [fake.url]) as world:
        # the third job runs until it is cancelled
        hold = threading.Event()
        fake.script(Script(), Script(), Script(gates={"2": hold}))

        def let_go() -> None:
            until(lambda: fake.cancelled, bool)
            hold.set()

        threading.Thread(target=let_go, daemon=True).start()
        ended = subprocess.run(
            ["node", str(client)],
            capture_output=True,
            text=True,
            env={**os.environ, "COMFY_BASE_URL": world.url},
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["watched"] == told["ran"] == "succeeded"
    assert told["statuses"][-1] == "succeeded"
    assert told["bytes"] == told["size"] > 0
    assert told["cancelled"] == "canceled"
