"""Which file of an attempt is whose picture."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any, BinaryIO, cast

import pytest

from orchestrator.batch.execution.collecting import fetch
from orchestrator.batch.logic.assignments import Assignment
from orchestrator.batch.logic.jobs import Attempt, Job
from orchestrator.batch.logic.retry import Degradation
from orchestrator.client.client import Client, ReceivedFile
from orchestrator.errors import JobError, ResultMissing, ResultWrong
from orchestrator.protocol import FileRef, Graph, HistoryRecord, JobState
from orchestrator.runs.fetching import Fetched as Counted
from orchestrator.runs.fetching import sent_as_told
from orchestrator.workflow.signatures import Signatures
from wrong_pictures import SCRIPT, WRONG, with_graph

GRAPH: Graph = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 4, "color": 7}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
RIGHT = with_graph(GRAPH, (8, 4))


class Serving:
    """A server with one content for every file; knows what was asked of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []

    def fetch(self, file: FileRef, sink: BinaryIO) -> ReceivedFile:
        self.asked.append(file.filename)
        sink.write(self.content)
        return ReceivedFile(bytes=len(self.content), sha256=sha256(self.content).hexdigest())


def assignment(count: int) -> Assignment:
    jobs = tuple(
        Job(key=f"{n:064}", name=f"job{n}", item_id="i", parameters={}, seed=n)
        for n in range(count)
    )
    attempt = Attempt(prompt_id="p", server="s", shots=())
    return Assignment(attempt=attempt, jobs=jobs, degradation=Degradation())


def record(**nodes: str) -> HistoryRecord:
    """Each node's files as "a b", with "t:" before those that are previews."""

    def entry(name: str) -> dict[str, Any]:
        kind = "temp" if name.startswith("t:") else "output"
        return {"filename": name.removeprefix("t:"), "subfolder": "", "type": kind}

    outputs = {
        node.lstrip("n"): {"images": [entry(name) for name in names.split()]}
        for node, names in nodes.items()
    }
    return HistoryRecord(
        prompt_id="p", graph={}, outputs=outputs, state=JobState.SUCCEEDED, messages=()
    )


def shared_out(count: int, told: HistoryRecord) -> list[tuple[str, int, str]]:
    serving = Serving(RIGHT)
    parts = fetch(cast(Client, serving), assignment(count), told, Signatures(GRAPH))
    found = [(part.job.name, part.number) for part in parts]
    return [(*one, name) for one, name in zip(found, serving.asked, strict=True)]


def test_one_job_gets_every_picture_of_its_graph() -> None:
    found = shared_out(1, record(n8="a.png b.png", n9="c.webp"))
    assert found == [("job0", 0, "a.png"), ("job0", 1, "b.png"), ("job0", 2, "c.webp")]


def test_jobs_made_together_get_their_pictures_in_order_from_every_node() -> None:
    found = shared_out(2, record(n8="a0 a1", n9="b0 b1"))
    assert found == [("job0", 0, "a0"), ("job0", 1, "b0"), ("job1", 0, "a1"), ("job1", 1, "b1")]


@pytest.mark.parametrize("names", ["a0", "a0 a1 a2", "a0 a1 a2 a3"])
def test_another_number_of_pictures_than_jobs_is_nobodys(names: str) -> None:
    with pytest.raises(JobError, match=r"gave .* at node 8; .*batch-size 1"):
        shared_out(2, record(n8=names))


def test_previews_are_pictures_only_where_nothing_is_saved() -> None:
    assert shared_out(1, record(n8="t:seen", n9="saved")) == [("job0", 0, "saved")]
    assert shared_out(1, record(n8="t:seen")) == [("job0", 0, "seen")]
    with pytest.raises(ResultMissing, match="SaveImage"):
        shared_out(1, record())


def kept(content: bytes, name: str = "x.png") -> Counted:
    """What is kept of a file that came."""
    serving = cast(Client, Serving(content))
    (part,) = fetch(serving, assignment(1), record(n2=name), Signatures(GRAPH))
    return part.fetched


def test_what_is_kept_of_a_picture() -> None:
    seen = kept(RIGHT + SCRIPT, "x.jpg")
    assert (seen.content, seen.cut) == (RIGHT, len(SCRIPT))
    assert seen.sha256 == sha256(RIGHT).hexdigest()
    assert seen.look is not None
    assert (seen.suffix, seen.look.width, seen.look.height, seen.has_graph) == (".png", 8, 4, True)
    assert not kept(WRONG["no graph"](RIGHT)).has_graph


def test_an_answer_from_the_cache_of_an_earlier_job_is_the_picture() -> None:
    earlier = {f"9{key}": node for key, node in GRAPH.items()}
    earlier["92"] = {**GRAPH["2"], "inputs": {**GRAPH["2"]["inputs"], "images": ["91", 0]}}
    earlier["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["91", 0]}}
    assert kept(with_graph(earlier, (8, 4))).has_graph


@pytest.mark.parametrize("kind", ["another job's", "another graph"])
def test_another_jobs_picture_is_wrong(kind: str) -> None:
    with pytest.raises(ResultWrong, match="what came for job0: that picture carries another graph"):
        kept(WRONG[kind](RIGHT))


def test_what_is_no_picture_is_wrong() -> None:
    with pytest.raises(ResultWrong, match="what came for job0: that is no whole PNG"):
        kept(RIGHT[:-1])
    with pytest.raises(ResultWrong, match=r"what came for job0: x\.mp4 is no picture"):
        kept(b"film", "x.mp4")


@pytest.mark.parametrize("graph", [None, 7, {}, {"1": 7}, {"1": {"class_type": "A", "inputs": 7}}])
def test_a_server_that_does_not_know_what_it_ran_is_not_believed(graph: Any) -> None:
    told = replace(record(n2="a"), graph=graph)
    with pytest.raises(ResultWrong, match="the server's record of p: "):
        sent_as_told(told)
