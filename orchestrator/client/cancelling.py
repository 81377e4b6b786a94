"""Stops single jobs of a server: by their id where the server can, else by queue and interrupt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ProtocolError
from ..protocol import JobState, QueueState
from .watch import state_in
from .wire import AddressNotFound, Wire


class Canceller:
    """Cancels jobs of one server, and remembers which way it knows."""

    def __init__(self, wire: Wire, queue: Callable[[], QueueState]) -> None:
        self._wire = wire
        self._queue = queue
        # until the server says that it has no such route
        self._by_id = True

    def cancel(self, prompt_id: str) -> None:
        """Take a job out of the queue, or stop it where it runs; others are left alone."""
        if self._by_id and self._cancelled_by_id(prompt_id):
            return
        if state_in(self._queue(), prompt_id) is JobState.PENDING:
            self._post("/queue", {"delete": [prompt_id]})
        # It may have begun in between. Old servers stop whatever runs, so ask only for our own.
        if state_in(self._queue(), prompt_id) is JobState.RUNNING:
            self.interrupt(prompt_id)

    def interrupt(self, prompt_id: str) -> None:
        """Stop a running job."""
        self._post("/interrupt", {"prompt_id": prompt_id})

    def _cancelled_by_id(self, prompt_id: str) -> bool:
        """Cancel by id; False where the server has no route for it."""
        try:
            if self._ask(prompt_id):
                # ComfyUI clears its flag as it begins with a job, so one that had only just left
                # the queue runs on. By now it has begun; another job is not touched.
                self._ask(prompt_id)
        except AddressNotFound:
            self._by_id = False
        return self._by_id

    def _ask(self, prompt_id: str) -> bool:
        """Say whether the server had the job in its queue or at work."""

        def ask() -> bool:
            body = self._wire.json("POST", f"/api/jobs/{prompt_id}/cancel", json={})
            if not isinstance(body, dict) or not isinstance(body.get("cancelled"), bool):
                raise ProtocolError(f"{self._wire.url} does not say whether it cancelled a job")
            return bool(body["cancelled"])

        return self._wire.patiently(ask)

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self._wire.patiently(lambda: self._wire.send("POST", path, json=body))
