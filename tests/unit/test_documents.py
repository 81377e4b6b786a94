"""Whatever holds a workflow: files, pictures, bodies of requests."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from orchestrator.errors import CanvasError, GraphError, UsageError
from orchestrator.runs.workflows import find_workflow, load_workflow, read_workflow
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.graph import Form
from orchestrator.workflow.layout import with_values
from orchestrator.workflow.roles import split_settings

REPOSITORY = Path(__file__).resolve().parent.parent.parent
WORKFLOWS = REPOSITORY / "workflows"
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
CANVAS = {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "version": 0.4}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    path = REPOSITORY / "tests" / "data" / "canvas" / "object_info.json"
    return Catalogue(json.loads(path.read_text(encoding="utf-8")))


def written(folder: Path, content: Any, name: str = "flow.json") -> Path:
    path = folder / name
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(data)
    return path


def png(**texts: Any) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        chunks.add_text(key, json.dumps(value), zip=len(texts) > 1)
    stream = BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG", pnginfo=chunks)
    return stream.getvalue()


def webp(**texts: Any) -> bytes:
    """As ComfyUI's SaveAnimatedWEBP does it: entries from 0x010f downwards, 0x0110 first."""
    exif = Image.Exif()
    for number, (key, value) in enumerate(texts.items()):
        exif[0x0110 - number] = f"{key}:{json.dumps(value)}"
    stream = BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "WEBP", exif=exif)
    return stream.getvalue()


def test_a_graph_and_a_canvas(tmp_path: Path) -> None:
    assert read_workflow(written(tmp_path, GRAPH)).data == GRAPH
    assert read_workflow(written(tmp_path, CANVAS)).form is Form.CANVAS


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_fault(mark: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, mark + json.dumps(GRAPH).encode())
    assert read_workflow(path).data == GRAPH


@pytest.mark.parametrize(
    "body", [{"prompt": GRAPH}, {"client_id": "x", "prompt": GRAPH, "extra_data": {"a": 1}}]
)
def test_the_body_of_a_request(body: Any, tmp_path: Path) -> None:
    assert read_workflow(written(tmp_path, body)).data == GRAPH


def test_a_node_may_be_called_prompt(tmp_path: Path) -> None:
    graph = {"prompt": GRAPH["1"], "2": GRAPH["2"]}
    assert read_workflow(written(tmp_path, graph)).data == graph


def test_comments_beside_the_nodes_are_left_out(tmp_path: Path) -> None:
    document = read_workflow(written(tmp_path, {"_comment": "mine", **GRAPH, "version": {"x": 1}}))
    assert document.data == GRAPH
    assert document.notes == (
        "'_comment' is no node, and is left out",
        "'version' is no node, and is left out",
    )


def test_a_damaged_node_is_no_comment(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="node 3 has no class_type"):
        read_workflow(written(tmp_path, {**GRAPH, "3": {"inputs": {}}}))


@pytest.mark.parametrize("make", [png, webp])
def test_pictures_carry_workflows(make: Any, tmp_path: Path) -> None:
    both = read_workflow(written(tmp_path, make(prompt=GRAPH, workflow=CANVAS), "a.png"))
    assert both.form is Form.CANVAS
    graph = read_workflow(written(tmp_path, make(prompt=GRAPH), "a.png"))
    assert graph.data == GRAPH


@pytest.mark.parametrize("make", [png, webp])
def test_a_picture_without_a_workflow_says_so(make: Any, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="is a picture without a workflow"):
        read_workflow(written(tmp_path, make(), "a.png"))


def test_a_damaged_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="not a picture that can be read"):
        read_workflow(written(tmp_path, png(prompt=GRAPH)[:60], "a.png"))
    with pytest.raises(UsageError, match="is no text; a workflow is a JSON file, or a PNG or WebP"):
        read_workflow(written(tmp_path, b"\xff\xd8\xff\xe0", "a.jpg"))


def test_names_of_shipped_workflows() -> None:
    assert find_workflow(Path("sprite")) == WORKFLOWS / "sprite.json"
    assert read_workflow(Path("sprite")).form is Form.CANVAS


def test_what_is_not_there_names_what_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'sprite'\?; give a file, or one of: batch"):
        read_workflow(Path("sprit"))
    with pytest.raises(UsageError, match="it is a folder"):
        read_workflow(tmp_path)


def test_all_that_needs_no_server_is_seen_without_one(tmp_path: Path) -> None:
    with pytest.raises(CanvasError, match="damaged canvas file"):
        read_workflow(written(tmp_path, {"nodes": [{"id": 1}]}))
    with pytest.raises(GraphError, match="circle"):
        read_workflow(written(tmp_path, {"1": {"class_type": "A", "inputs": {"x": ["1", 0]}}}))


# --------------------------------------------------------------------------- fitted to a server


def test_choices_of_a_canvas_and_of_set_are_made_by_the_seed(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    canvas = json.loads((WORKFLOWS / "sprite.json").read_text(encoding="utf-8"))
    text = next(node for node in canvas["nodes"] if node["type"] == "CLIPTextEncode")
    text["widgets_values"] = ["a {red|blue} lamp // comment"]
    path = written(tmp_path, canvas)

    def sent(*settings: str) -> str:
        graph = load_workflow(path, split_settings(settings), catalogue).graph
        return str(graph[str(text["id"])]["inputs"]["text"])

    found = {sent(f"seed={seed}") for seed in range(20)}
    assert found == {"a red lamp ", "a blue lamp "}
    assert sent("seed=3") == sent("seed=3")
    given = {sent(f"seed={seed}", "prompt=a {red|blue} http://x \\{y\\}") for seed in range(20)}
    assert given == {"a red http://x {y}", "a blue http://x {y}"}


def test_a_graphs_own_texts_are_sent_as_they_stand(catalogue: Catalogue, tmp_path: Path) -> None:
    graph = json.loads((WORKFLOWS / "api" / "sprite.json").read_text(encoding="utf-8"))
    graph["2"]["inputs"]["text"] = "a {red|blue} lamp // x"
    path = written(tmp_path, graph)
    assert load_workflow(path, (), catalogue).graph == graph
    changed = load_workflow(path, [("prompt", "{lamp}")], catalogue).graph
    assert changed["2"]["inputs"]["text"] == "lamp"


def test_file_names_are_filled_in_after_set(catalogue: Catalogue, tmp_path: Path) -> None:
    canvas = json.loads((WORKFLOWS / "sprite.json").read_text(encoding="utf-8"))
    saver = next(node for node in canvas["nodes"] if node["type"] == "SpriteworksSaveSprite")
    saver.update(type="SaveImage", widgets_values=["%KSampler.seed%-%KSampler.steps%"])
    next(slot for slot in saver["inputs"] if slot["name"] == "image")["name"] = "images"
    path = written(tmp_path, canvas)
    graph = load_workflow(path, [("seed", 5)], catalogue).graph
    assert graph[str(saver["id"])]["inputs"]["filename_prefix"] == "5-20"


def test_what_the_server_drops_is_noted(catalogue: Catalogue, tmp_path: Path) -> None:
    graph = json.loads((WORKFLOWS / "api" / "sprite.json").read_text(encoding="utf-8"))
    graph["6"]["inputs"]["stepps"] = 3
    (note,) = load_workflow(written(tmp_path, graph), (), catalogue).notes
    assert "no input 'stepps', did you mean 'steps'" in note


@pytest.mark.parametrize("name", ["sprite", "batch", "pixel_art", "inpaint", "icons"])
def test_a_picture_of_ours_is_run_as_its_workflow_was(
    name: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    """The texts that a run puts into its pictures give the graph that made them."""
    settings = (("seed", 77), ("prompt", "a {red|blue} lamp"))
    workflow = load_workflow(WORKFLOWS / f"{name}.json", settings, catalogue)
    assert workflow.canvas is not None
    layout = with_values(workflow.canvas, workflow.graph, catalogue)
    assert layout is not None
    picture = written(tmp_path, png(prompt=workflow.graph, workflow=layout), "a.png")
    assert load_workflow(picture, (), catalogue).graph == workflow.graph
    bare = written(tmp_path, png(prompt=workflow.graph), "b.png")
    assert load_workflow(bare, (), catalogue).graph == workflow.graph
