"""Which file of an attempt is whose picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from orchestrator.batch.assignments import Assignment
from orchestrator.batch.collecting import Part, fetch, look_at, sent_as_told
from orchestrator.batch.jobs import Attempt, Job
from orchestrator.batch.retry import Degradation
from orchestrator.client.client import Client
from orchestrator.errors import JobError, ResultMissing, ResultWrong
from orchestrator.protocol import FileRef, Graph, HistoryRecord, JobState
from orchestrator.workflow.signatures import Signatures
from wrong_pictures import SCRIPT, WRONG, with_graph


class Named:
    """A server each of whose files holds its own name."""

    def content(self, file: FileRef) -> bytes:
        return file.filename.encode()


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
    parts = fetch(cast(Client, Named()), assignment(count), told)
    return [(part.job.name, part.number, part.content.decode()) for part in parts]


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


GRAPH: Graph = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 4, "color": 7}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
RIGHT = with_graph(GRAPH, (8, 4))


def part(content: bytes) -> Part:
    return Part(job=assignment(1).jobs[0], content=content, node="2", number=0)


def test_what_is_kept_of_a_picture() -> None:
    seen = look_at(part(RIGHT + SCRIPT), Signatures(GRAPH), thoroughly=False)
    assert (seen.content, seen.cut) == (RIGHT, len(SCRIPT))
    assert (seen.suffix, seen.width, seen.height, seen.has_graph) == (".png", 8, 4, True)
    assert seen.picture is None
    assert not look_at(
        part(WRONG["no graph"](RIGHT)), Signatures(GRAPH), thoroughly=False
    ).has_graph


def test_an_answer_from_the_cache_of_an_earlier_job_is_the_picture() -> None:
    earlier = {f"9{key}": node for key, node in GRAPH.items()}
    earlier["92"] = {**GRAPH["2"], "inputs": {**GRAPH["2"]["inputs"], "images": ["91", 0]}}
    earlier["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["91", 0]}}
    seen = look_at(part(with_graph(earlier, (8, 4))), Signatures(GRAPH), thoroughly=True)
    assert seen.has_graph
    assert seen.picture is not None


@pytest.mark.parametrize("kind", ["another job's", "another graph"])
def test_another_jobs_picture_is_wrong(kind: str) -> None:
    with pytest.raises(ResultWrong, match="what came for job0: that picture carries another graph"):
        look_at(part(WRONG[kind](RIGHT)), Signatures(GRAPH), thoroughly=False)


def test_what_is_no_picture_is_wrong() -> None:
    with pytest.raises(ResultWrong, match="what came for job0: that is no whole PNG"):
        look_at(part(RIGHT[:-1]), Signatures(GRAPH), thoroughly=False)


@pytest.mark.parametrize("graph", [None, 7, {}, {"1": 7}, {"1": {"class_type": "A", "inputs": 7}}])
def test_a_server_that_does_not_know_what_it_ran_is_not_believed(graph: Any) -> None:
    told = replace(record(n2="a"), graph=graph)
    with pytest.raises(ResultWrong, match="the server's record of p: "):
        sent_as_told(told)
