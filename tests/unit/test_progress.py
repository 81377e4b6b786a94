"""What a run says and shows."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from orchestrator.errors import NodeProblem
from orchestrator.protocol import Executing, ExecutionCached, Graph, Preview, StepProgress
from orchestrator.runs.run_progress import RunProgress, progress_on
from orchestrator.screen import Bar, Part, Screen

JOB = "job"
GRAPH: Graph = {
    "1": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "Sample [1]"}},
    "2": {"class_type": "SaveImage", "inputs": {}},
}


class Shown(Screen):
    """A screen that keeps what it is given."""

    def __init__(self, *, is_live: bool) -> None:
        super().__init__(io.StringIO())
        self.is_live = is_live
        self.said: list[str] = []
        self.shown: list[tuple[Part, ...]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def show(self, *parts: Part) -> None:
        self.shown.append(parts)


def play(progress: RunProgress) -> None:
    with progress:
        progress.prepared(GRAPH)
        progress.event(ExecutionCached(prompt_id=JOB, nodes=("2",)))
        progress.event(Executing(prompt_id=JOB, node="1"))
        progress.event(StepProgress(prompt_id=JOB, node="1", value=1, max=2))
        progress.event(Executing(prompt_id=JOB, node="1.0.inner"))
        progress.event(Executing(prompt_id=JOB, node=None))
        problem = NodeProblem(node_id="2", class_type="SaveImage", type="x", message="no [image]")
        progress.dropped(problem)


def test_lines_where_nothing_can_be_shown() -> None:
    screen = Shown(is_live=False)
    play(RunProgress(screen))
    assert screen.said == [
        "submitting 2 nodes",
        "1 of 2 nodes are cached",
        "node 1: Sample [1]",
        "node 1.0.inner: (expanded)",
        "warning: the server leaves out node 2 (SaveImage): no [image]",
    ]


def test_bars_of_the_nodes_and_of_the_steps_of_one() -> None:
    screen = Shown(is_live=True)
    play(RunProgress(screen))
    assert screen.said == [
        "1 of 2 nodes are cached",
        "warning: the server leaves out node 2 (SaveImage): no [image]",
    ]
    assert screen.shown == [
        (Bar("nodes", 0, 2),),
        (Bar("nodes", 1, 2),),
        (Bar("nodes", 1, 2), Bar("Sample [1]", 1, 2)),
        (Bar("nodes", 2, 2),),
    ]


def test_a_stream_without_a_terminal_gets_the_lines() -> None:
    stream = io.StringIO()
    play(progress_on(stream))
    assert "node 1: Sample [1]" in stream.getvalue().splitlines()


@pytest.mark.parametrize(("kind", "name"), [("png", "preview.png"), ("jpeg", "preview.jpg")])
def test_the_newest_preview_is_a_file_while_the_run_lasts(
    tmp_path: Path, kind: str, name: str
) -> None:
    with progress_on(io.StringIO(), tmp_path / "out") as progress:
        for content in (b"first", b"second"):
            progress.event(Preview(format=kind, image=content, prompt_id=JOB))
        assert (tmp_path / "out" / name).read_bytes() == b"second"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_preview_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    with progress_on(io.StringIO(), tmp_path / "out") as progress:
        progress.event(Preview(format="png", image=b"x", prompt_id=JOB))
