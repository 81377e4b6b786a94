"""How large ComfyUI's editor makes the nodes that the shipped workflows are built from.

    python tests/data/record_sizes.py ~/comfy/ComfyUI [older ComfyUI ...]

needs Playwright and a Chromium (see README.md here). Starts each ComfyUI with the pack of this
repository, puts one node of each class on a canvas, and writes tests/data/node_sizes.json, by
class: `drawn`, the height with which a node stands on the first ComfyUI in both renderers, and
`room`, the most that it takes on any of them in either, with its advanced settings shown and the
longest palette in it. px on the canvas, the title bar not counted. scripts/build_workflows.py lays
the workflows out by them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from canvas_editor import Editor, editor

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
TARGET = HERE / "node_sizes.json"

sys.path.insert(0, str(REPOSITORY))  # the pack and the orchestrator of this tree, and no other

from orchestrator.local import launch  # noqa: E402
from scripts.templates.layout import WIDTH  # noqa: E402

# How large the editor draws the nodes that are on the canvas, in its classic renderer, and in Nodes
# 2.0, where a node is an element of the page.
CLASSIC = "() => Object.fromEntries(app.graph.nodes.map(n => [n.type, Math.ceil(n.size[1])]))"
NODES_2 = """() => Object.fromEntries(app.graph.nodes.map(n => {
  const box = document.querySelector(`[data-node-id="${n.id}"]`)?.getBoundingClientRect();
  return [n.type, box ? Math.ceil(box.height / app.canvas.ds.scale) - 30 : 0];
}))"""
PUT = """([classes, width]) => {
  app.graph.clear();
  // The editor remembers widgets and open settings by the ids of nodes that are gone.
  app.graph.last_node_id = Math.ceil(performance.now());
  app.canvas.ds.scale = 0.5; app.canvas.ds.offset = [60, 60];
  classes.forEach((kind, index) => {
    const made = LiteGraph.createNode(kind);
    app.graph.add(made);
    made.pos = [(index % 8) * 430, 40 + Math.floor(index / 8) * 640];
    made.setSize([width, made.computeSize()[1]]);
  });
  app.canvas.setDirty(true, true);
}"""
# Show advanced settings, in Nodes 2.0 by the editor's own button and else by the pack's, and the
# palette with the most colours.
OPEN = """() => {
  for (const button of document.querySelectorAll('[data-testid=advanced-inputs-button]'))
    button.click();
  for (const node of app.graph.nodes) {
    if (!LiteGraph.vueNodesMode)
      node.widgets?.find(one => one.name === 'spriteworks_advanced')?.callback();
    const told = Object.values(node.constructor.nodeData.input.required ?? {})
      .map(spec => spec[1]?.swatches).find(Boolean);
    if (!told) continue;
    const most = Object.entries(told.presets).sort((one, other) => other[1].length - one[1].length);
    const widget = node.widgets.find(one => one.name === told.input);
    widget.value = most[0][0];
    widget.callback(widget.value);
    node.setSize([node.size[0], Math.max(node.size[1], node.computeSize()[1])]);
  }
}"""
# ms; layouts settle in the frames after a node is there
SETTLING = 3000


def classes() -> list[str]:
    """The classes of all nodes in the recipes."""
    from scripts.build_workflows import BLUEPRINTS, RECIPES

    recipes = [*(make() for make in RECIPES), *(offer().recipe for offer in BLUEPRINTS)]
    return sorted({node["class_type"] for one in recipes for node in one.graph.values()})


def measured(at: Editor) -> tuple[dict[str, int], dict[str, int]]:
    """By class the height that a node takes in the renderers that the editor has, the larger.

    As it is put there, and opened as far as it goes.
    """
    wanted = classes()
    folded, opened = dict.fromkeys(wanted, 0), dict.fromkeys(wanted, 0)
    for modern in at.renderers():
        at.draw_with(modern)
        at.page.evaluate(PUT, [wanted, WIDTH])
        folded = _larger(folded, _seen(at, modern))
        at.page.evaluate(OPEN)
        opened = _larger(opened, _seen(at, modern))
    at.draw_with(False)
    return folded, _larger(folded, opened)


def _seen(at: Editor, modern: bool) -> dict[str, int]:
    """The heights now. Raises RuntimeError where one is not drawn."""
    at.page.wait_for_timeout(SETTLING)
    found: dict[str, int] = at.page.evaluate(NODES_2 if modern else CLASSIC)
    if not all(found.values()):
        raise RuntimeError(f"no size of {[kind for kind, size in found.items() if not size]}")
    print(found, file=sys.stderr)
    return found


def _larger(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {kind: max(size, other[kind]) for kind, size in one.items()}


def main() -> None:
    """Measure on all of them, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("comfyui", type=Path, nargs="+", help="folders of ComfyUI, newest first")
    given = parser.parse_args()
    every = []
    for folder in given.comfyui:
        with launch.comfyui(folder) as process, editor(process.url) as at:
            every.append(measured(at))
    write(every)


def write(every: list[tuple[dict[str, int], dict[str, int]]]) -> None:
    """Write what was measured, the newest first."""
    rows = [
        f'{json.dumps(kind)}: {{"drawn": {every[0][0][kind]}, "room": '
        f"{max(opened[kind] for _, opened in every)}}}"
        for kind in sorted(every[0][0])
    ]
    TARGET.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
