"""How a run is shown on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

from ..errors import NodeProblem
from ..protocol import (
    Event,
    Executing,
    ExecutionCached,
    Graph,
    Preview,
    StepProgress,
)
from ..screen import Bar, Screen, screen_on
from ..workflow.graph import owner, title


class RunProgress:
    """What a run says and shows; a context manager. See `run.Observer`.

    Where there is no picture, each node that begins is a line.
    """

    def __init__(self, screen: Screen, previews: Path | None = None) -> None:
        self._screen = screen
        self._previews = PreviewFile(previews) if previews else None
        self._graph: Graph = {}
        self._begun: set[str] = set()
        self._done = 0
        self._steps: Bar | None = None
        self._stack = ExitStack()

    def __enter__(self) -> RunProgress:
        if self._previews:
            self._stack.callback(self._previews.remove)
        self._stack.enter_context(self._screen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def prepared(self, graph: Graph) -> None:
        """Take the graph that is about to be sent."""
        self._graph = graph
        if not self._screen.is_live:
            self._screen.say(f"submitting {len(graph)} nodes")
        self._show()

    def noted(self, text: str) -> None:
        """Tell what is left out of a workflow."""
        self._screen.say(f"note: {text}")

    def dropped(self, problem: NodeProblem) -> None:
        """Warn of a branch that the server leaves out."""
        self._screen.say(f"warning: the server leaves out {problem}")

    def event(self, event: Event) -> None:
        """Tell of an event of the job."""
        match event:
            case ExecutionCached(nodes=nodes) if nodes:
                self._begun.update(nodes)
                self._screen.say(f"{len(nodes)} of {len(self._graph)} nodes are cached")
            case Executing(node=str(node)):
                self._node_began(node, event.display_node)
            case StepProgress(node=node, value=value, max=total):
                self._steps = Bar(self._title(node), value, total)
                self._show()
            case Preview():
                if self._previews:
                    self._previews.show(event)

    def _node_began(self, node: str, display_node: str | None) -> None:
        # All that began before it are over.
        self._done = len(self._begun & set(self._graph))
        self._begun.add(node)
        self._steps = None
        if not self._screen.is_live:
            self._screen.say(f"node {node}: {self._title(node, display_node)}")
        self._show()

    def _show(self) -> None:
        nodes = Bar("nodes", self._done, len(self._graph))
        self._screen.show(nodes, *([self._steps] if self._steps else []))

    def _title(self, node: str, display_node: str | None = None) -> str:
        """The title of a node, also of one that a node expanded to."""
        ours = owner(self._graph, node, display_node)
        if ours is None:
            return "(expanded)"
        return title(self._graph, ours) + ("" if ours == node else " (expanded)")


class PreviewFile:
    """The newest intermediate picture of a run, as a file that viewers may watch."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: set[Path] = set()

    def show(self, preview: Preview) -> None:
        """Put a preview into preview.jpg or preview.png, whole at any moment."""
        suffix = "png" if preview.format == "png" else "jpg"
        path = self._folder / f"preview.{suffix}"
        part = path.with_name(path.name + ".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(preview.image)
            os.replace(part, path)
        except OSError:
            # A picture for looking on is not worth the run.
            with suppress(OSError):
                part.unlink()
            return
        self._written.add(path)

    def remove(self) -> None:
        """Take the file away once the run is over."""
        for path in self._written:
            path.unlink(missing_ok=True)


def progress_on(stream: TextIO | None = None, previews: Path | None = None) -> RunProgress:
    """What shows a run on a stream, else on standard error."""
    return RunProgress(screen_on(stream or sys.stderr), previews)
