"""What /api/jobs says of jobs and their outputs; whole answers are held to ComfyUI's recordings."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import ProtocolError
from orchestrator.protocol import (
    JobsQuery,
    JobStatus,
    ended_job,
    read_job_ids,
    refused_ids,
    waiting_job,
)

PICTURE = {"filename": "a.png", "subfolder": "", "type": "output"}
SHOWN_IN_PASSING = {**PICTURE, "type": "temp"}
NOTE = {**PICTURE, "filename": "a.txt"}
LATENT = {**PICTURE, "filename": "a.latent"}


def ended(outputs: dict[str, Any], *, whole: bool = False, **extra_data: Any) -> dict[str, Any]:
    record = {
        "prompt": [3, "x", {"1": {}}, extra_data, ["1"]],
        "outputs": outputs,
        "status": {"status_str": "success", "completed": True, "messages": []},
    }
    return ended_job("x", record, whole=whole)


@pytest.mark.parametrize(
    ("outputs", "shown"),
    [
        ({"1": {"text": ["hello"]}, "2": {"images": [PICTURE]}}, ("2", "images", "a.png")),
        ({"1": {"images": [SHOWN_IN_PASSING, PICTURE]}}, ("1", "images", "a.png")),
        ({"1": {"files": [NOTE]}, "2": {"images": [SHOWN_IN_PASSING]}}, ("2", "images", "a.png")),
        ({"1": {"text": ["hello"]}, "2": {"files": [NOTE]}}, ("2", "files", "a.txt")),
        ({"1": {"result": [None, "B.GLB"]}}, ("1", "3d", "B.GLB")),
        ({"1": {"gifs": [{**LATENT, "format": "video/mp4"}]}}, ("1", "gifs", "a.latent")),
    ],
)
def test_the_output_that_stands_for_a_job(outputs: Any, shown: tuple[str, str, str]) -> None:
    preview = ended(outputs)["preview_output"]
    assert (preview["nodeId"], preview["mediaType"], preview["filename"]) == shown


def test_files_count_and_texts_do_not() -> None:
    outputs = {
        "1": {"images": [PICTURE, PICTURE], "animated": [False, False]},
        "2": {"latents": [LATENT], "text": ["hello"]},
    }
    job = ended(outputs)
    assert (job["outputs_count"], job["previewable_outputs_count"]) == (3, 2)


def test_a_long_text_is_cut_short() -> None:
    preview = ended({"1": {"text": ["x" * 1025]}})["preview_output"]
    assert (len(preview["content"]), preview["truncated"]) == (1024, True)
    assert "truncated" not in ended({"1": {"text": ["x" * 1024]}})["preview_output"]


def test_what_is_unknown_is_left_out() -> None:
    job = ended({})
    assert job.keys() == {
        *("id", "status", "priority", "outputs_count", "previewable_outputs_count")
    }
    odd = waiting_job([0, "x", {}, {"extra_pnginfo": [1]}, []], JobStatus.PENDING)
    assert "workflow_id" not in odd


def test_the_whole_job_has_its_files_without_gaps() -> None:
    job = ended({"1": {"result": ["b.glb", None, "text"]}}, whole=True, create_time=5)
    assert [
        each if isinstance(each, str) else each["mediaType"]
        for each in (job["outputs"]["1"]["result"])
    ] == ["3d", "text"]
    assert job["workflow"] == {"prompt": {"1": {}}, "extra_data": {"create_time": 5}}


@pytest.mark.parametrize(
    "query",
    [
        {"status": "done"},
        {"sort_by": "size"},
        {"sort_order": "up"},
        {"limit": "0"},
        {"limit": "many"},
        {"offset": "x"},
    ],
)
def test_a_query_that_means_nothing_is_refused(query: dict[str, str]) -> None:
    (name,) = query
    with pytest.raises(ProtocolError, match=name):
        JobsQuery.from_query(query)


def test_pages_of_the_newest_first() -> None:
    jobs = [{"id": str(time), "status": "pending", "create_time": time} for time in (2, 1, 3)]
    answer = JobsQuery.from_query({"limit": "2", "offset": "-1"}).answer(jobs)
    assert [job["id"] for job in answer["jobs"]] == ["3", "2"]
    assert answer["pagination"] == {"offset": 0, "limit": 2, "total": 3, "has_more": True}
    last = JobsQuery.from_query({"limit": "2", "offset": "2"}).answer(jobs)
    assert [job["id"] for job in last["jobs"]] == ["1"]
    assert last["pagination"]["has_more"] is False


def test_ids_to_cancel() -> None:
    with pytest.raises(ProtocolError, match="list"):
        read_job_ids({"job_ids": "x"})
    good = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
    assert refused_ids([good]) is None
    refusal = refused_ids([good, good.upper(), 7, None])
    assert refusal is not None
    assert refusal["invalid_ids"] == [good.upper(), "7", "None"]
