"""What Comfy's own Python SDK does with a service: every method of it that speaks Comfy API v2."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdk_pictures import picture

comfy_sdk = pytest.importorskip("comfy_sdk", reason="comfy-sdk is not installed")
ApiError = pytest.importorskip("comfy_low.errors").ApiError


@contextmanager
def pointed_at(url: str, key: str | None = None) -> Iterator[Any]:
    """A client of a service, as the environment variable makes one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMFY_BASE_URL", url)
        patch.delenv("COMFY_API_KEY", raising=False)
        with comfy_sdk.Comfy(api_key=key) as client:
            yield client


def saving(asset: Any) -> dict[str, Any]:
    """A graph that saves what it is given."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": asset}},
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": "copy"},
        },
    }


def use_everything(
    url: str,
    folder: Path,
    graph: dict[str, Any],
    key: str | None = None,
    *,
    computes: bool = True,
) -> None:
    """Go through every method of the client, and of all that it gives.

    `computes` where the servers are real ones, whose pictures are what went in.
    """
    with pointed_at(url, key) as client:
        _use_jobs(client, folder, graph)
        _use_assets(client, folder, computes)
        _see_errors(client, graph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMFY_BASE_URL", url)
        asyncio.run(_use_async(graph, key))


def _use_jobs(client: Any, folder: Path, graph: dict[str, Any]) -> None:
    file = folder / "graph.json"
    file.write_text(json.dumps(graph))
    workflow = client.workflows.from_file(file)
    labels = {"client": "acme", "run": "7"}
    job = client.submit(workflow, metadata=labels, idempotency_key="one")
    events = list(job.events())
    assert type(events[0]).__name__ == "StatusChange"
    assert events[-1].status == "succeeded"
    assert any(type(one).__name__ == "OutputReady" for one in events)
    done = client.jobs.get(job.id).wait(timeout=60)
    assert done.status == "succeeded"
    assert done.result() is done
    assert done.error is None
    assert done.metadata == {"client": "acme", "run": "7"}
    assert done.get_workflow().graph == graph
    assert done.get_workflow().format == "api"
    (output,) = done.outputs
    assert done.get_outputs(output.node_id)[0].id == output.id
    assert done.get_outputs("nobody") == []
    _use_output(output, folder, job.id)
    # a retry under its key is the same job
    assert client.submit(workflow, metadata=labels, idempotency_key="one").id == job.id
    again = client.run(client.workflows.from_json(graph), timeout=60)
    assert again.id != job.id
    assert len(again.outputs) == 1
    listed = list(client.list_jobs(limit=1))
    assert [one.id for one in listed][:2] == [again.id, job.id]
    assert [one.id for one in client.list_jobs(metadata={"client": "acme"})] == [job.id]
    assert list(client.list_jobs(metadata={"client": "nobody"})) == []
    assert listed[0].create_time <= listed[0].update_time
    assert again.cancel().status == "succeeded"
    assert again.refresh().status == "succeeded"


def _use_output(output: Any, folder: Path, job_id: str) -> None:
    content = output.to_bytes()
    assert Image.open(io.BytesIO(content)).format == "PNG"
    assert len(content) == output.size_bytes > 0
    assert output.type == "image"
    assert output.content_type == "image/png"
    assert output.job_id == job_id
    assert output.to_file(folder / output.name).read_bytes() == content
    sink = io.BytesIO()
    assert output.to_stream(sink) == len(content)
    assert sink.getvalue() == content
    assert output.to_bytes(range=(0, 4)) == content[:5]
    assert output.get_download_url().url.startswith("http")


def _use_assets(client: Any, folder: Path, computes: bool) -> None:
    path = folder / "in.png"
    path.write_bytes(picture())
    asset = client.assets.from_file(path)
    assert asset.commit() == asset.id
    assert asset.created_new
    assert client.assets.get(asset.id).hash == asset.hash
    assert asset.as_reference()["info"]["id"] == asset.id
    assert asset.get_download_url().url.endswith("/content")
    # the same bytes are not sent again
    twin = client.assets.from_bytes(path.read_bytes(), filename="twin.png")
    assert twin.commit() != asset.id
    assert not twin.created_new
    other = client.assets.from_stream(io.BytesIO(picture((1, 2, 3))), filename="other.png")
    job = client.run(client.workflows.from_json(saving(other)), timeout=60)
    copy = Image.open(io.BytesIO(job.outputs[0].to_bytes())).convert("RGB")
    assert copy.getpixel((0, 0)) == (1, 2, 3) or not computes
    fetched = client.assets.from_url(job.outputs[0].get_download_url().url)
    fetched.commit()
    fetched.delete()
    client.assets.delete(asset.id)
    with pytest.raises(comfy_sdk.NotFound):
        client.assets.get(asset.id)


def _see_errors(client: Any, graph: dict[str, Any]) -> None:
    broken = {**graph, "9": {"class_type": "NoSuchNode", "inputs": {}}}
    with pytest.raises(comfy_sdk.InvalidWorkflow) as refused:
        client.submit(client.workflows.from_json(broken))
    assert "9" in refused.value.details["node_errors"]
    lost = {"__type": "core/ASSET", "info": {"id": "00000000-0000-4000-8000-000000000000"}}
    with pytest.raises(comfy_sdk.MissingAsset):
        client.submit(client.workflows.from_json(saving(lost)))
    with pytest.raises(comfy_sdk.IdempotencyKeyReuse):
        client.submit(client.workflows.from_json(saving("x.png")), idempotency_key="one")
    with pytest.raises(comfy_sdk.NotFound):
        client.jobs.get("00000000-0000-4000-8000-000000000000")
    with pytest.raises(ApiError) as cursor:
        client._low.list_jobs(cursor="x")
    assert cursor.value.code == "invalid_cursor"


async def _use_async(graph: dict[str, Any], key: str | None) -> None:
    async with comfy_sdk.AsyncComfy(api_key=key) as client:
        job = await client.submit(client.workflows.from_json(graph), metadata={"async": "yes"})
        seen = [event async for event in job.events()]
        assert seen[-1].status == "succeeded"
        await job.wait(timeout=60)
        await job.result()
        assert (await job.get_workflow()).graph == graph
        content = await job.outputs[0].to_bytes()
        assert len(content) == job.outputs[0].size_bytes
        asset = client.assets.from_bytes(picture((9, 9, 9)), filename="async.png")
        done = await client.run(client.workflows.from_json(saving(asset)), timeout=60)
        assert done.status == "succeeded"
        found = [one.id async for one in client.list_jobs(metadata={"async": "yes"})]
        assert found == [job.id]
        assert (await (await client.jobs.get(job.id)).cancel()).status == "succeeded"
        await asset.delete()
