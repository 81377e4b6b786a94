"""How a run is shown on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
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
    Progress,
)
from ..workflow.graph import title


class PlainProgress:
    """One line for each node that begins; a context manager like BarProgress."""

    def __init__(self, stream: TextIO, previews: Path | None = None) -> None:
        self._stream = stream
        self._previews = PreviewFile(previews) if previews else None
        self._graph: Graph = {}

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._previews:
            self._previews.remove()

    def prepared(self, graph: Graph) -> None:
        """Take the graph that is about to be sent."""
        self._graph = graph
        self.say(f"submitting {len(graph)} nodes")

    def noted(self, text: str) -> None:
        """Show what is left out of a workflow."""
        self.say(f"note: {text}")

    def dropped(self, problem: NodeProblem) -> None:
        """Warn of a branch that the server leaves out."""
        self.say(f"warning: the server leaves out {problem}")

    def event(self, event: Event) -> None:
        """Show an event of the job."""
        match event:
            case ExecutionCached(nodes=nodes) if nodes:
                self.say(f"{len(nodes)} of {len(self._graph)} nodes are cached")
            case Executing(node=str(node)):
                self.node_began(node)
            case Progress():
                self.stepped(event)
            case Preview():
                if self._previews:
                    self._previews.show(event)

    def node_began(self, node: str) -> None:
        """Show that a node begins."""
        self.say(f"node {node}: {self.title(node)}")

    def stepped(self, progress: Progress) -> None:
        """Show a step; too many for lines."""

    def say(self, text: str) -> None:
        """Write one line."""
        print(text, file=self._stream, flush=True)

    def title(self, node: str) -> str:
        """The title of a node, also of one that a node expanded to."""
        return title(self._graph, node) if node in self._graph else "(expanded)"


class BarProgress(PlainProgress):
    """A bar for the nodes and one for the steps of the node that runs."""

    def __init__(self, stream: TextIO, previews: Path | None = None) -> None:
        super().__init__(stream, previews)
        # 50 ms to import; scripts without a terminal never need it.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description:<32.32}"), BarColumn(), MofNCompleteColumn())
        self._bars = Bars(
            *columns, TimeElapsedColumn(), console=Console(file=stream), transient=True
        )
        self._nodes = self._bars.add_task("nodes", total=None, visible=False)
        self._steps = self._bars.add_task("", total=None, visible=False)
        self._begun: set[str] = set()

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()
        super().__exit__(kind, error, trace)

    def prepared(self, graph: Graph) -> None:
        """Take the graph that is about to be sent."""
        self._graph = graph
        self._bars.update(self._nodes, total=len(graph), visible=True)

    def event(self, event: Event) -> None:
        """Show an event of the job."""
        if isinstance(event, ExecutionCached):
            self._begun.update(event.nodes)
        super().event(event)

    def node_began(self, node: str) -> None:
        """Show that a node begins."""
        self._bars.update(self._nodes, completed=len(self._begun & set(self._graph)))
        self._begun.add(node)
        self._bars.reset(self._steps, description=self.title(node), total=None, visible=False)

    def stepped(self, progress: Progress) -> None:
        """Show a step."""
        self._bars.update(self._steps, completed=progress.value, total=progress.max, visible=True)

    def say(self, text: str) -> None:
        """Write one line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False)


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


def progress_on(stream: TextIO | None = None, previews: Path | None = None) -> PlainProgress:
    """Choose bars for a terminal and lines for everything else."""
    chosen = stream or sys.stderr
    return (BarProgress if chosen.isatty() else PlainProgress)(chosen, previews)
