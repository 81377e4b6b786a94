"""A whole service on a free port, over fake servers, for tests."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import uvicorn

from orchestrator.batch.execution.fleet import Care
from orchestrator.client.wire import Timeouts
from orchestrator.local.serving import Choice
from orchestrator.patience import protocol
from orchestrator.service.app import create_app
from orchestrator.service.intake import Settings
from orchestrator.service.journal import Told
from orchestrator.service.opening import Setup, opened
from orchestrator.service.service import Service

# s, for which what must come is waited for
LONG = 60.0


def graph(width: int = 32, color: int = 0, prefix: str = "sprite") -> dict[str, Any]:
    """A graph that fake servers and engines run at once."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": width, "height": 32, "batch_size": 1, "color": color},
        },
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": prefix},
        },
    }


class World:
    """A service that runs, seen from outside."""

    def __init__(self, url: str, service: Service) -> None:
        self.url = url
        self.service = service
        self.session = requests.Session()
        # the one server behind it, where a test says so
        self.fake: Any = None

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=LONG, **options)

    def post(self, workflow: Any, key: str | None = None, **more: Any) -> requests.Response:
        """Post a job to v2."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.call(
            "POST", "/api/v2/jobs", json={"workflow": workflow, **more}, headers=headers
        )

    def job(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/api/v2/jobs/{id}").json()
        return found

    def ended(self, id: str) -> dict[str, Any]:
        """A job once it has come to its end."""
        return until(
            lambda: self.job(id),
            lambda job: job["status"] in ("succeeded", "failed", "canceled", "expired"),
        )


def until(look: Callable[[], Any], is_right: Callable[[Any], Any], seconds: float = LONG) -> Any:
    """Look until what is seen is right; fails with what was seen last."""
    late = time.monotonic() + seconds
    while not is_right(seen := look()):
        assert time.monotonic() < late, seen
        time.sleep(0.02)
    return seen


def quick_care() -> Care:
    """Care for servers that answer at once."""
    return Care(timeouts=Timeouts(poll=0.05, tries=2))


@contextmanager
def serving(
    folder: Path,
    urls: Sequence[str] = (),
    *,
    choice: Choice | None = None,
    settings: Settings | None = None,
    is_ready: bool = True,
    told: Told | None = None,
    **setup: Any,
) -> Iterator[World]:
    """Serve until the block ends."""
    what = Setup(
        folder=folder,
        choice=choice or Choice(urls=tuple(urls)),
        care=quick_care(),
        settings=settings or Settings(),
        **setup,
    )
    with opened(what) as service:
        config = uvicorn.Config(
            create_app(service, told=told),
            port=0,
            log_config=None,
            timeout_graceful_shutdown=1,
            http=protocol(),
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        until(lambda: server.started, bool)
        port = server.servers[0].sockets[0].getsockname()[1]
        world = World(f"http://127.0.0.1:{port}", service)
        try:
            if is_ready:
                until(service.ready, lambda ready: ready.is_ready)
            yield world
        finally:
            with contextlib.suppress(Exception):
                world.session.close()
            server.should_exit = True
            thread.join(LONG)
            assert not thread.is_alive()
