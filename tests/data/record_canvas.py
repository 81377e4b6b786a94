"""What ComfyUI says of its nodes, and what its own editor makes of canvas files, for the tests.

    python tests/data/record_canvas.py ~/comfy/ComfyUI

needs Playwright and a Chromium (see README.md here). Starts that ComfyUI with the pack of this
repository and writes tests/data/canvas, object_info.json and CASE.json of each case here, and
tests/data/editor (record_editor.py). A case here opens a shipped workflow, changes it the way a
person would, saves it, loads it again and asks the editor for the graph; the file holds what was
saved and that graph.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import record_editor
import record_object_info
from canvas_editor import Editor, browser, editor

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
WORKFLOWS = REPOSITORY / "workflows"
CANVAS = HERE / "canvas"

sys.path.insert(0, str(REPOSITORY))  # the pack and the orchestrator of this tree, and no other

from orchestrator.errors import SpriteworksError  # noqa: E402
from orchestrator.local import launch, pack  # noqa: E402

# name -> (shipped workflow, version of the saved file, change)
CASES = {
    "reroute_primitive": (
        "sprite",
        0.4,
        """
        const first = add('Reroute'), second = add('Reroute');
        node(1).connect(0, first, 0); first.connect(0, second, 0);
        join(second, 0, node(6), 'model');
        const seed = add('PrimitiveNode'); join(seed, 0, node(6), 'seed');
        seed.widgets[0].value = 42;
        const text = add('PrimitiveNode'); join(text, 0, node(2), 'text');
        text.widgets[0].value = 'a blue sword';
        add('Note').widgets[0].value = 'hello';
        node(6).title = 'My sampler';
        """,
    ),
    "muted_bypassed": (
        "sprite",
        1,
        """
        const lora = add('LoraLoader'); lora.mode = 4;
        join(node(1), 0, lora, 'model'); join(node(1), 1, lora, 'clip');
        join(lora, 0, node(6), 'model'); join(lora, 1, node(2), 'clip');
        const scale = add('ImageScaleBy'); scale.mode = 4;
        join(node(7), 0, scale, 'image'); join(scale, 0, node(8), 'image');
        const shown = add('PreviewImage'); shown.mode = 2; join(node(7), 0, shown, 'images');
        node(4).mode = 2;
        """,
    ),
    "bypassed_crop": ("inpaint", 0.4, "node(8).mode = 4;"),
    "comments": (
        "sprite",
        0.4,
        "node(2).widgets[0].value = 'a potion // no\\nwith /* no */ \\\\{braces\\\\}';",
    ),
    "subgraphs": (
        "sprite",
        0.4,
        "pack(node(2), node(3)); pack(node(4), node(5), node(6));",
    ),
    "subgraph_nested": ("sprite", 0.4, "pack(pack(node(2), node(3)), node(6));"),
    "subgraph_widgets": (
        "sprite",
        1,
        """
        const outer = pack(node(5), node(6));
        cut(outer, 'width', 'steps'); put(outer, {width: 640, steps: 7});
        """,
    ),
    "subgraph_twice": (
        "sprite",
        0.4,
        """
        const first = pack(node(5)); cut(first, 'width', 'height');
        const second = add(first.type);
        const decode = add('VAEDecode'), shown = add('PreviewImage');
        join(second, 0, decode, 'samples'); join(node(1), 2, decode, 'vae');
        join(decode, 0, shown, 'images');
        await reopen();  // until then both have the same values in frontend 1.48
        put(node(first.id), {width: 640}); put(node(second.id), {width: 320});
        """,
    ),
    "subgraph_seed": (
        "sprite",
        0.4,
        """
        const seed = add('PrimitiveInt'); join(seed, 0, node(6), 'seed');
        const inner = pack(node(5), node(6));
        cut(inner, 'seed', 'steps'); app.graph.remove(seed);
        put(inner, {seed: 77, steps: 6});
        pack(inner, node(7));
        """,
    ),
    "subgraph_bypassed": (
        "sprite",
        0.4,
        """
        const lora = add('LoraLoader');
        join(node(1), 0, lora, 'model'); join(node(1), 1, lora, 'clip');
        join(lora, 0, node(6), 'model'); join(lora, 1, node(2), 'clip');
        pack(lora).mode = 4; pack(node(4)).mode = 2;
        """,
    ),
}

# Ids that are the same each time, so that only what the editor does otherwise shows in a diff.
COUNTED = """start => {
  let count = start * 1000;
  crypto.randomUUID = () => `00000000-0000-4000-8000-${String(++count).padStart(12, '0')}`;
}"""


def record(at: Editor, name: str) -> None:
    """Write the file of one case."""
    base, version, script = CASES[name]
    at.page.evaluate(COUNTED, list(CASES).index(name))
    original = json.loads((WORKFLOWS / f"{base}.json").read_text(encoding="utf-8"))
    canvas = at.changed(original, version, script)
    text = json.dumps({"canvas": canvas, "graph": at.graph(canvas)}, separators=(",", ":"))
    (CANVAS / f"{name}.json").write_text(text + "\n", encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comfyui", type=Path, help="folder of ComfyUI")
    folder = parser.parse_args().comfyui.expanduser().resolve()
    if pack.has_pack(folder):
        parser.error(f"{folder} has a Spriteworks of its own in custom_nodes: move it away first")
    if browser() is None:
        parser.error("no Chromium was found: install the package chromium")
    try:
        with launch.comfyui(folder) as server:
            record_object_info.record(server.url, CANVAS / "object_info.json")
            with editor(server.url) as at:
                for name in CASES:
                    record(at, name)
                record_editor.record(server.url, at)
    except SpriteworksError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
