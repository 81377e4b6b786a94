"""Progress of a run and previews on their way to the clients."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ...protocol import Event, NodeProgress, Preview, ProgressState, StepProgress
from ..host.context import Context, PreviewFormat
from ..host.context import Preview as PreviewImage
from ..stopping import InterruptedByUser
from .jobs import GraphJob

if TYPE_CHECKING:
    from PIL import Image

# ComfyUI's own default
PREVIEW_SIZE = 512
# A state names every node that has begun: up to so many it is sent at each change, as ComfyUI does;
# beyond, so many seconds a node pass between two of them. One takes about 20 us a node to send.
_FEW, _STATE_SECONDS = 100, 200e-6


class Audience(Protocol):
    """Those who hear of a run. A client is named by its id; None means everybody."""

    def send(self, event: Event, client_id: str | None) -> None:
        """Send an event, from any thread."""

    def listens(self, client_id: str | None) -> bool:
        """Say whether anybody would hear it."""


class GraphProgress:
    """The state of every node of a run that has begun."""

    def __init__(self, job: GraphJob, audience: Audience) -> None:
        self.job = job
        self._audience = audience
        self._nodes: dict[str, NodeProgress] = {}
        # whether the newest state was left out, and when the next may be sent (time.monotonic, s)
        self._untold = False
        self._next_state = 0.0

    def start(self, node_id: str) -> None:
        self._set(NodeProgress(node_id=node_id, state="running"))

    def finish(self, node_id: str) -> None:
        known = self._nodes.get(node_id) or NodeProgress(node_id=node_id, state="running")
        self._set(replace(known, state="finished", value=known.max))

    def update(self, node_id: str, value: float, max: float) -> None:
        """A node's own count, for example sampling steps."""
        self._set(NodeProgress(node_id=node_id, state="running", value=value, max=max))
        self.send(StepProgress(prompt_id=self.job.prompt_id, node=node_id, value=value, max=max))

    def send(self, event: Event) -> None:
        """Send to the job's client; to everybody where the job has none."""
        self._audience.send(event, self.job.client_id)

    def end(self) -> None:
        """The run is over: tell the state that was left out."""
        if self._untold:
            self._tell_state()

    def watched(self) -> bool:
        """Say whether a preview is worth its while."""
        return self._audience.listens(self.job.client_id)

    def _set(self, node: NodeProgress) -> None:
        known = replace(node, display_node_id=node.node_id, real_node_id=node.node_id)
        self._nodes[node.node_id] = known
        now = time.monotonic()
        if len(self._nodes) <= _FEW or now >= self._next_state:
            self._tell_state()
            # Sending is at most about a tenth of the work, however long the list grows.
            self._next_state = now + len(self._nodes) * _STATE_SECONDS
        else:
            self._untold = True

    def _tell_state(self) -> None:
        self._untold = False
        nodes = tuple(self._nodes.values())
        self.send(ProgressState(prompt_id=self.job.prompt_id, nodes=nodes))


class NodeContext(Context):
    """The host as the node sees it that runs now."""

    def __init__(self, run: GraphProgress, node_id: str) -> None:
        self._run = run
        self._node_id = node_id

    def progress(
        self,
        value: float,
        max: float,
        preview: PreviewImage = None,
        format: PreviewFormat = "jpeg",
    ) -> None:
        self.check_interrupted()
        self._run.update(self._node_id, value, max)
        if preview is not None and self._run.watched():
            self._show(preview() if callable(preview) else preview, format)
        # Decoding a preview takes a while, and the next step longer: no need to begin it.
        self.check_interrupted()

    def _show(self, image: Image.Image, format: PreviewFormat) -> None:
        self._run.send(
            Preview(
                format=format,
                image=encode(image, format),
                prompt_id=self._run.job.prompt_id,
                node_id=self._node_id,
            )
        )

    def check_interrupted(self) -> None:
        if self._run.job.stop.is_set():
            raise InterruptedByUser("somebody asked the server to stop this run")


def encode(image: Image.Image, format: PreviewFormat) -> bytes:
    """A picture as bytes; a JPEG is made no larger than PREVIEW_SIZE on its longer side."""
    buffer = io.BytesIO()
    if format == "png":
        image.save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()
    small = image.convert("RGB")
    small.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
    small.save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
