"""What ComfyUI's own editor makes of canvas files: drives it in a browser and keeps the results.

    python tests/data/record_canvas.py http://127.0.0.1:8188

needs a ComfyUI with the pack at that address, Playwright and a Chromium (see README.md here). Each
case opens a shipped workflow, changes it the way a person would, saves it, loads it again and asks
the editor for the graph; tests/data/canvas/CASE.json holds the saved file and that graph.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
WORKFLOWS = HERE.parent.parent / "workflows"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# For the cases: node(id), add(class) and join(from, output, to, input name).
HELPERS = """() => {
  window.node = id => app.graph.getNodeById(id);
  window.add = kind => {
    const made = LiteGraph.createNode(kind);
    made.pos = [900, 900];
    app.graph.add(made);
    return made;
  };
  window.slot = (at, name) => at.inputs.findIndex(input => input.name === name);
  window.join = (from, output, to, name) => from.connect(output, to, slot(to, name));
  window.cut = (at, ...names) => names.forEach(name => at.disconnectInput(slot(at, name)));
  window.put = (at, values) => at.widgets.forEach(widget => {
    if (widget.name in values) widget.value = values[widget.name];
  });
  window.pack = (...nodes) => app.graph.convertToSubgraph(new Set(nodes)).node;
}"""

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
    "bypassed_crop": ("inpaint", 0.4, "node(7).mode = 4;"),
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
        const first = pack(node(5));
        cut(first, 'width', 'height'); put(first, {width: 640});
        const second = add(first.type); put(second, {width: 320});
        const decode = add('VAEDecode'), shown = add('PreviewImage');
        join(second, 0, decode, 'samples'); join(node(1), 2, decode, 'vae');
        join(decode, 0, shown, 'images');
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
        pack(lora).mode = 4; pack(node(5)).mode = 2;
        """,
    ),
}


class Editor:
    """ComfyUI's editor in a browser page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def load(self, canvas: Any) -> None:
        """Open a canvas file."""
        self.page.evaluate("async data => { await app.loadGraphData(data); }", canvas)

    def graph(self, canvas: Any) -> Any:
        """The graph that the editor would send for a canvas file."""
        self.load(canvas)
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def changed(self, canvas: Any, version: float, script: str) -> Any:
        """Open a canvas file, change it and save it in that version of the format."""
        self.load(canvas)
        self.page.evaluate(f"() => {{ {script} }}")
        save = "serialize" if version < 1 else "asSerialisable"
        return self.page.evaluate(f"() => app.graph.{save}()")

    def complaints(self) -> list[str]:
        """The classes of nodes that the editor shows in red, because it does not know them."""
        return self.page.evaluate(
            "() => app.graph.nodes.filter(n => n.has_errors || !n.constructor.nodeData && "
            "!n.isVirtualNode).map(n => n.type)"
        )


def browser() -> str | None:
    """The program of a Chromium on this machine."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def editor(url: str) -> Iterator[Editor]:
    """Open the editor of the server at `url`."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = chromium.new_page(viewport={"width": 1800, "height": 1000})
        # a busy machine takes its time
        page.set_default_timeout(300_000)
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_function(
            "() => window.app?.graph && window.LiteGraph?.registered_node_types"
            "?.SpriteworksSaveSprite && window.app.extensionManager"
        )
        # The editor opens an empty workflow of its own once it has started.
        page.wait_for_function(
            "() => window.app.graph.nodes.length > 0 || document.querySelector('.p-dialog')"
        )
        page.keyboard.press("Escape")
        # A dialog that is opened while the first one closes is closed with it.
        page.wait_for_function("() => !document.querySelector('.p-dialog')")
        page.evaluate(HELPERS)
        yield Editor(page)
        chromium.close()


def main(url: str) -> None:
    """Record every case."""
    with editor(url) as at:
        for name, (base, version, script) in CASES.items():
            original = json.loads((WORKFLOWS / f"{base}.json").read_text(encoding="utf-8"))
            canvas = at.changed(original, version, script)
            text = json.dumps({"canvas": canvas, "graph": at.graph(canvas)}, separators=(",", ":"))
            path = HERE / "canvas" / f"{name}.json"
            path.write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
