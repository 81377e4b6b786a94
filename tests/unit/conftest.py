"""Fixtures of the unit tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch

    from orchestrator.engine.handles.handles import Loaded
    from orchestrator.workflow.catalogue import Catalogue


@pytest.fixture(scope="session")
def info(repository: Path) -> Catalogue:
    """The node classes that the workflows use, as a real server declares them."""
    from orchestrator.workflow.catalogue import Catalogue

    path = repository / "tests" / "data" / "canvas" / "object_info.json"
    return Catalogue(json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def plain(tiny_models: Path) -> Loaded:
    """tiny-sd1 on the engine, in fp32 and with no other setting."""
    # Imported here: most tests need neither torch nor diffusers.
    from engine_pictures import load

    return load(tiny_models, precision="fp32")


@pytest.fixture(scope="module")
def baseline(plain: Loaded) -> torch.Tensor:
    """The picture that settings are compared with."""
    from engine_pictures import picture

    return picture(plain)


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A place that webhooks are sent to: its URL, and what came."""
    came: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", came
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let loaders offer no models, without asking a host for its folders."""
    monkeypatch.setattr("comfy_nodes.folders.checkpoint_names", list)
    monkeypatch.setattr("comfy_nodes.folders.diffusers_names", list)
    monkeypatch.setattr("comfy_nodes.folders.diffusers_words", dict)
