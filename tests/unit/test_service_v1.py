"""The face `/v1`, over a fake server that knows the nodes of the shipped workflows."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.errors import UsageError
from orchestrator.service.prompting import Prompt, Workflows
from orchestrator.testing import FakeServer
from orchestrator.workflow.catalogue import Catalogue
from sdk_pictures import picture
from service_world import World, serving

OBJECT_INFO = Path(__file__).parent.parent / "data" / "canvas" / "object_info.json"
WORKFLOWS = Path(__file__).parent.parent.parent / "workflows"
PROMPT = {
    "prompt": "a green slime",
    "negative_prompt": "blurry",
    "steps": 3,
    "guidance_scale": 5.5,
    "seed": 2**63,
    "width": 128,
    "height": 128,
}


@pytest.fixture(scope="module")
def object_info() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(OBJECT_INFO.read_text(encoding="utf-8"))
    return found


@pytest.fixture
def fake(object_info: dict[str, Any]) -> Iterator[FakeServer]:
    with FakeServer(object_info=object_info) as fake:
        yield fake


@pytest.fixture
def world(tmp_path: Path, fake: FakeServer) -> Iterator[World]:
    with serving(tmp_path, [fake.url]) as world:
        yield world


def _sent(fake: FakeServer) -> dict[str, Any]:
    return {node["_meta"]["title"]: node["inputs"] for node in fake.submissions[-1].graph.values()}


def test_a_prompt_becomes_a_graph_and_a_picture(world: World, fake: FakeServer) -> None:
    taken = world.call("POST", "/v1/jobs", json=PROMPT)
    assert taken.status_code == 202, taken.text
    told = taken.json()
    assert told["seed"] == 2**63
    assert told["warnings"] == []
    job = world.call("GET", told["url"], params={"wait": 30}).json()
    assert job["status"] == "succeeded", job
    assert len(job["images"]) == 1
    assert world.call("GET", job["images"][0]["url"]).content[:4] == b"\x89PNG"
    sent = _sent(fake)
    assert sent["Positive"]["text"] == "a green slime"
    assert sent["Negative"]["text"] == "blurry"
    assert (sent["Sampler"]["steps"], sent["Sampler"]["cfg"]) == (3, 5.5)
    assert sent["Sampler"]["seed"] == 2**63
    assert (sent["Size"]["width"], sent["Size"]["height"]) == (128, 128)
    # the same job, seen by the other face
    assert world.job(told["job_id"])["outputs"][0]["id"] == job["images"][0]["id"]


def test_what_is_left_out_comes_from_the_workflow(world: World, fake: FakeServer) -> None:
    done = world.call("POST", "/v1/jobs", json={"prompt": "a key"}, params={"wait": 30})
    assert done.status_code == 200, done.text
    assert done.json()["seed"] == 11
    assert done.json()["parameters"]["prompt"] == "a key"
    assert _sent(fake)["Sampler"]["steps"] == ["4", 0]


def test_any_seed_is_told(world: World) -> None:
    seeds = {world.call("POST", "/v1/jobs", json={"seed": -1}).json()["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_a_size_the_model_was_not_made_for_is_warned_of(world: World) -> None:
    taken = world.call("POST", "/v1/jobs", json={"prompt": "x", "width": 512, "height": 96})
    (warning,) = taken.json()["warnings"]
    assert "128x128" in warning
    assert "512x96" in warning


def test_parameters_and_named_workflows(world: World, fake: FakeServer) -> None:
    body = {
        "workflow": "pixel_art",
        "parameters": {"sampler": "euler", "Sampler".join('""') + ".scheduler": "normal"},
    }
    done = world.call("POST", "/v1/jobs", json=body, params={"wait": 30})
    assert done.status_code == 200, done.text
    assert done.json()["workflow"] == "pixel_art"
    assert _sent(fake)["Sampler"]["scheduler"] == "normal"


def test_inpainting_with_pictures_in_the_request(world: World, fake: FakeServer) -> None:
    body = {
        "prompt": "a hat",
        "image": base64.b64encode(picture((1, 2, 3))).decode(),
        "mask": "data:image/png;base64," + base64.b64encode(picture((255, 255, 255))).decode(),
    }
    done = world.call("POST", "/v1/jobs", json=body, params={"wait": 30})
    assert done.status_code == 200, done.text
    assert done.json()["workflow"] == "inpaint"
    uploads = [content for (kind, _, _), content in fake.files.items() if kind == "input"]
    assert picture((1, 2, 3)) in uploads
    assert picture((255, 255, 255)) in uploads


def test_a_workflow_brings_its_own_pictures(world: World, fake: FakeServer) -> None:
    done = world.call("POST", "/v1/jobs", json={"workflow": "inpaint"}, params={"wait": 30})
    assert done.status_code == 200, done.text
    assert any(kind == "input" for kind, _, _ in fake.files)


def test_a_workflow_without_a_model_takes_neither_the_service_s_nor_a_prompt(
    tmp_path: Path, fake: FakeServer
) -> None:
    catalogue, model = Catalogue(fake.object_info), "spriteworks-starter"
    workflows = Workflows(model=model)
    made = workflows.fill(Prompt(workflow="frames"), catalogue)
    assert made.parameters == {"image": "spriteworks_walk.png"}
    assert {path.name for path in made.files.values()} == {"spriteworks_walk.png"}
    assert workflows.fill(Prompt(workflow="icons"), catalogue).parameters["model"] == model
    with pytest.raises(UsageError, match="this workflow has no prompt"):
        workflows.fill(Prompt(workflow="frames", settings=[("prompt", "a hat")]), catalogue)


def test_frames_bring_their_own_pictures(world: World, fake: FakeServer) -> None:
    done = world.call("POST", "/v1/jobs", json={"workflow": "frames"}, params={"wait": 30})
    assert done.status_code == 200, done.text
    assert done.json()["seed"] is None
    frames = (WORKFLOWS / "inputs" / "spriteworks_walk.png").read_bytes()
    assert frames in [content for (kind, _, _), content in fake.files.items() if kind == "input"]
    refused = world.call("POST", "/v1/jobs", json={"workflow": "frames", "prompt": "a hat"})
    assert refused.status_code == 422
    assert "this workflow has no prompt" in refused.text


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({"steps": 0}, "invalid_request", "steps"),
        ({"stepss": 3}, "invalid_request", "stepss"),
        ({"workflow": "../../etc/passwd"}, "invalid_parameter", "no workflow"),
        ({"parameters": {"samplr": "euler"}}, "invalid_parameter", "sampler"),
        ({"parameters": {"sampler": "eulr"}}, "invalid_parameter", "euler"),
        ({"parameters": {"image": "/etc/passwd"}, "workflow": "sprite"}, "invalid_parameter", ""),
        ({"image": "not base64", "mask": "AAAA"}, "invalid_file", "image"),
        ({"image": "AAAA", "mask": "AAAA"}, "invalid_file", ""),
        ({"model": "no-such-model"}, "invalid_parameter", "no-such-model"),
        ({"prompt": "{" * 2000}, "invalid_parameter", "choices"),
    ],
)
def test_mistakes_are_told(world: World, body: dict[str, Any], code: str, word: str) -> None:
    refused = world.call("POST", "/v1/jobs", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["error"]["code"] == code, refused.text
    assert word in refused.json()["error"]["message"]


def test_no_file_of_this_machine_is_taken(world: World, fake: FakeServer, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture((7, 7, 7)))
    body = {"workflow": "inpaint", "parameters": {"image": str(secret), "mask": str(secret)}}
    world.call("POST", "/v1/jobs", json=body, params={"wait": 5})
    assert picture((7, 7, 7)) not in fake.files.values()


def test_a_stream_ends_with_the_picture(world: World) -> None:
    id = world.call("POST", "/v1/jobs", json=PROMPT).json()["job_id"]
    text = world.call("GET", f"/v1/jobs/{id}/stream").text
    events = _events(text)
    assert text.endswith("data: [DONE]\n\n")
    kind, complete = events[-1]
    assert kind == "complete"
    (image,) = complete["images"]
    content = base64.b64decode(image["image_base64"])
    assert Image.open(io.BytesIO(content)).format == "PNG"
    links = _events(world.call("GET", f"/v1/jobs/{id}/stream", params={"images": "link"}).text)
    assert "image_base64" not in links[-1][1]["images"][0]


def _events(text: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if not line.startswith(":")
        )
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_what_there_is(world: World, fake: FakeServer) -> None:
    models = world.call("GET", "/v1/models").json()["models"]
    starter = next(one for one in models if one["name"] == "spriteworks-starter")
    assert (starter["width"], starter["height"]) == (128, 128)
    assert starter["servers"] == [fake.url]
    workflows = world.call("GET", "/v1/workflows").json()
    assert workflows["default"] == "sprite"
    assert {"sprite", "inpaint"} <= {one["name"] for one in workflows["workflows"]}
    sprite = next(one for one in workflows["workflows"] if one["name"] == "sprite")
    assert sprite["problem"] == ""
    assert sprite["parameters"]["seed"] == 11
    (server,) = world.call("GET", "/v1/servers").json()["servers"]
    assert server["open"]
    assert world.call("GET", "/health").json() == {"status": "healthy"}
    assert world.call("GET", "/ready").status_code == 200


def test_metrics_count_what_is_in_the_record(world: World) -> None:
    world.call("POST", "/v1/jobs", json=PROMPT, params={"wait": 30})

    def figures() -> dict[str, float]:
        text = world.call("GET", "/metrics").text
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    found = figures()
    assert found['spriteworks_jobs{status="succeeded"}'] == 1
    assert found["spriteworks_files"] == 1
    assert found["spriteworks_file_bytes"] > 0
    assert any(name.startswith("spriteworks_attempts_total") for name in found)


def test_jobs_are_listed_and_taken_back(world: World, fake: FakeServer) -> None:
    ids = [world.call("POST", "/v1/jobs", json=PROMPT).json()["job_id"] for _ in range(3)]
    for id in ids:
        world.ended(id)
    page = world.call("GET", "/v1/jobs", params={"limit": 2}).json()
    assert [one["job_id"] for one in page["jobs"]] == ids[:0:-1]
    assert len(page["jobs"][0]["images"]) == 1
    rest = world.call("GET", "/v1/jobs", params={"cursor": page["next_cursor"]}).json()
    assert [one["job_id"] for one in rest["jobs"]] == ids[:1]
    assert "next_cursor" not in rest
    assert world.call("DELETE", f"/v1/jobs/{ids[0]}").json()["status"] == "succeeded"
    assert world.call("DELETE", "/v1/jobs", params={"which": "all"}).json() == {"cancelled": 0}


MANIFEST = """
name: potions
workflow: sprite
vars: {colour: [red, blue]}
seeds: [1, 2]
output: "{colour}-{seed}"
items:
  - {id: potion, prompt: "a {colour} potion", priority: 3}
"""


ENDLESS = {"base": 0, "count": 10**12}
# two braces in a manifest are one in the text
DEEP = "{" * 2000


def test_a_manifest_is_a_job_for_each_picture(world: World, fake: FakeServer) -> None:
    header = {"Idempotency-Key": "batch"}
    posted = world.call("POST", "/v1/jobs", json={"manifest": MANIFEST}, headers=header)
    assert posted.status_code == 202, posted.text
    batch = posted.json()
    ids = [one["job_id"] for one in batch["jobs"]]
    assert len(set(ids)) == 4
    jobs = [world.call("GET", f"/v1/jobs/{id}", params={"wait": 30}).json() for id in ids]
    assert [job["status"] for job in jobs] == ["succeeded"] * 4
    assert [job["seed"] for job in jobs] == [1, 2, 1, 2]
    texts = {job["parameters"]["prompt"] for job in jobs}
    assert texts == {"a red potion", "a blue potion"}
    assert len(fake.submissions) == 4
    again = world.call("POST", "/v1/jobs", json={"manifest": MANIFEST}, headers=header)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert [one["job_id"] for one in again.json()["jobs"]] == ids
    listed = world.call("GET", "/v1/jobs", params={"batch": batch["batch_id"]}).json()
    assert {one["job_id"] for one in listed["jobs"]} == set(ids)


@pytest.mark.parametrize(
    ("manifest", "word"),
    [
        ("name: [", "line"),
        ("name: x", "workflow"),
        ("name: x\nworkflow: sprite", "items"),
        ({"name": "x", "workflow": "sprite", "items": [{"id": "a", "prompt": DEEP}]}, "choices"),
        ({"name": "x", "workflow": "sprite", "items": [{"id": "a", "promt": "b"}]}, "promt"),
        ({"name": "x", "workflow": "/etc/passwd", "items": [{"id": "a"}]}, "no workflow"),
        ({"name": "x", "workflow": "../../../etc/passwd", "items": [{"id": "a"}]}, "no workflow"),
        ({"name": "x", "workflow": "sprite", "items_from": "/etc/passwd"}, "items_from"),
        (
            {"name": "x", "workflow": "sprite", "items": [{"id": "a", "images": {"b": "/*"}}]},
            "images",
        ),
        (
            {
                "name": "x",
                "workflow": "sprite",
                "seeds": {"base": 1, "count": 5000},
                "items": [{"id": "a"}],
            },
            "1,000",
        ),
        # what takes for ever to count is refused in no time, with and without other mistakes
        *(
            ({"workflow": "sprite", "items": [{"id": "a", "seeds": ENDLESS}], **more}, "1,000")
            for more in ({"name": "x"}, {}, {"name": "x", "defaults": {"no such": 1}})
        ),
    ],
)
def test_a_manifest_reads_no_file_and_tells_its_mistakes(
    world: World, manifest: Any, word: str
) -> None:
    refused = world.call("POST", "/v1/jobs", json={"manifest": manifest})
    assert refused.status_code == 422, refused.text
    assert word in refused.json()["error"]["message"]
    assert "root:" not in refused.text
    both = world.call("POST", "/v1/jobs", json={"manifest": "x", "prompt": "y"})
    assert both.status_code == 400
