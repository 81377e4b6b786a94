"""Planted mistakes, each told in one sentence at its node, as a person reads it on the screen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.comfyui

# ms
PATIENCE = 120_000
# [[class, {widget: value}, [[input, number of the node, output], ...]], ...] as a workflow of its
# own: in one that is only cleared, nodes get the values of those that had their ids before.
BUILD = """async nodes => {
  await app.loadGraphData({version: 0.4, nodes: [], links: [], groups: [], config: {}, extra: {},
    last_node_id: 0, last_link_id: 0});
  const made = nodes.map(([kind], index) => {
    const one = LiteGraph.createNode(kind);
    one.pos = [80 + 420 * index, 120];
    app.graph.add(one);
    return one;
  });
  nodes.forEach(([, values, links], index) => {
    for (const [name, value] of Object.entries(values))
      made[index].widgets.find(one => one.name === name).value = value;
    for (const [name, from, output] of links)
      made[from].connect(output, made[index],
        made[index].inputs.findIndex(one => one.name === name));
  });
}"""
# To its end: the editor drops what is queued while it still tells of a refusal.
RUN = "async () => { await app.queuePrompt(0); }"
PICTURE = ["EmptyImage", {"width": 64, "height": 64}, []]
SHOWN = ["PreviewImage", {}, [["images", 1, 0]]]
LOADED = ["SpriteworksMemoryReport", {}, [["value", 0, 0]]]
LOADER = "SpriteworksDiffusersLoader"
# name -> (nodes, class of the one that tells it, a part of the sentence)
MISTAKES: dict[str, tuple[list[Any], str, str]] = {
    "wrong palette": (
        [PICTURE, ["SpriteworksPalette", {"palette": "nonsense"}, [["image", 0, 0]]], SHOWN],
        "SpriteworksPalette",
        "'nonsense' is no palette: write hex colours like #1a2b3c",
    ),
    "nothing painted": (
        [
            PICTURE,
            ["SpriteworksInpaintCrop", {}, [["image", 0, 0], ["mask", 3, 0]]],
            SHOWN,
            ["SolidMask", {"value": 0, "width": 64, "height": 64}, []],
        ],
        "SpriteworksInpaintCrop",
        "Nothing is painted on the mask: paint over what is to be changed.",
    ),
    "missing model": (
        [[LOADER, {"model_name": "spriteworks-begin"}, []], LOADED],
        LOADER,
        "There is no diffusers model named 'spriteworks-begin'.",
    ),
    "100,000 pictures": (
        [
            [LOADER, {}, []],
            ["SpriteworksSeedBatch", {"batch_size": 100_000}, [["model", 0, 0]]],
            ["SpriteworksMemoryReport", {}, [["value", 1, 1]]],
        ],
        "SpriteworksSeedBatch",
        "4096",
    ),
    "two settings": (
        [[LOADER, {"precision": "fp8", "quantization": "int8"}, []], LOADED],
        LOADER,
        "precision fp8 and quantization both change how the UNet's weights are stored: set one",
    ),
}
TOAST = ".p-toast-message, [data-testid=toast]"
# Where people read it beside the node; older editors may have a dialog over the toast.
SAID = f"{TOAST}, [role=dialog]"


@pytest.fixture(scope="module")
def editor(studio: Any, canvas_editor: Any) -> Iterator[Any]:
    with canvas_editor.editor(studio.url) as editor:
        troubles: list[str] = []
        editor.page.on("pageerror", lambda error: troubles.append(str(error)))
        yield editor
        # Older editors let go of the refusal that they have shown.
        assert [one for one in troubles if "Prompt" not in one and "prompt" not in one] == []


@pytest.fixture(params=[False, True], ids=["classic", "nodes2"])
def page(request: pytest.FixtureRequest, editor: Any) -> Any:
    if request.param not in editor.renderers():
        pytest.skip("this editor has no Nodes 2.0")
    editor.draw_with(request.param)
    editor.close_dialogs()
    return editor.page


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_at_its_node(page: Any, mistake: str) -> None:
    nodes, kind, sentence = MISTAKES[mistake]
    page.evaluate(BUILD, nodes)
    page.evaluate(RUN)
    told = page.get_by_role("alert").filter(has_text=sentence).locator("visible=true").first
    told.wait_for(timeout=PATIENCE)
    at_node = page.evaluate(
        "kind => app.graph.nodes.find(one => one.type === kind).widgets"
        ".find(one => one.name === 'spriteworks_error').element.innerText",
        kind,
    )
    assert sentence in at_node
    assert "/" not in at_node
    assert "comfy_nodes" not in at_node
    page.locator(SAID).filter(has_text=sentence).first.wait_for(timeout=PATIENCE)


def test_what_was_told_goes_with_the_next_run(page: Any) -> None:
    nodes, kind, sentence = MISTAKES["wrong palette"]
    page.evaluate(BUILD, nodes)
    page.evaluate(RUN)
    has_text = "kind => app.graph.nodes.find(one => one.type === kind).widgets.some(one => "
    has_text += "one.name === 'spriteworks_error')"
    page.wait_for_function(has_text, arg=kind, timeout=PATIENCE)
    told = page.locator(TOAST).filter(has_text=sentence)
    told.first.wait_for(timeout=PATIENCE)
    high = page.evaluate("kind => app.graph.nodes.find(one => one.type === kind).size[1]", kind)
    page.evaluate(
        "kind => { app.graph.nodes.find(one => one.type === kind).widgets"
        ".find(one => one.name === 'palette').value = 'pico-8'; }",
        kind,
    )
    page.evaluate(RUN)
    page.wait_for_function(f"kind => !({has_text})(kind)", arg=kind, timeout=PATIENCE)
    now = page.evaluate("kind => app.graph.nodes.find(one => one.type === kind).size[1]", kind)
    assert now < high
    told.first.wait_for(state="hidden", timeout=PATIENCE)
