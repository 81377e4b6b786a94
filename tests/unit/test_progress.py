"""Lines and bars on standard error."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from orchestrator.errors import NodeProblem
from orchestrator.protocol import Executing, ExecutionCached, Graph, Preview, Progress
from orchestrator.runs.progress import BarProgress, PlainProgress, progress_on

JOB = "job"
GRAPH: Graph = {
    "1": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "Sample [1]"}},
    "2": {"class_type": "SaveImage", "inputs": {}},
}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def play(progress: PlainProgress) -> None:
    with progress:
        progress.prepared(GRAPH)
        progress.event(ExecutionCached(prompt_id=JOB, nodes=("2",)))
        progress.event(Executing(prompt_id=JOB, node="1"))
        progress.event(Progress(prompt_id=JOB, node="1", value=1, max=2))
        progress.event(Executing(prompt_id=JOB, node="1.0.inner"))
        progress.event(Executing(prompt_id=JOB, node=None))
        problem = NodeProblem(node_id="2", class_type="SaveImage", type="x", message="no [image]")
        progress.dropped(problem)


def test_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = progress_on(stream)
    assert type(progress) is PlainProgress
    play(progress)
    assert stream.getvalue().splitlines() == [
        "submitting 2 nodes",
        "1 of 2 nodes are cached",
        "node 1: Sample [1]",
        "node 1.0.inner: (expanded)",
        "warning: the server leaves out node 2 (SaveImage): no [image]",
    ]


def test_bars_on_a_terminal() -> None:
    stream = Terminal()
    progress = progress_on(stream)
    assert type(progress) is BarProgress
    play(progress)
    assert "no [image]" in stream.getvalue()


@pytest.mark.parametrize(("kind", "name"), [("png", "preview.png"), ("jpeg", "preview.jpg")])
def test_the_newest_preview_is_a_file_while_the_run_lasts(
    tmp_path: Path, kind: str, name: str
) -> None:
    with PlainProgress(io.StringIO(), tmp_path / "out") as progress:
        for content in (b"first", b"second"):
            progress.event(Preview(format=kind, image=content, prompt_id=JOB))
        assert (tmp_path / "out" / name).read_bytes() == b"second"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_preview_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    with PlainProgress(io.StringIO(), tmp_path / "out") as progress:
        progress.event(Preview(format="png", image=b"x", prompt_id=JOB))
