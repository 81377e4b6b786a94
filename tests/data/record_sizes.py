"""How large ComfyUI's editor makes the nodes that the shipped workflows are built from.

    python tests/data/record_sizes.py ~/comfy/ComfyUI [older ComfyUI ...]

needs Playwright and a Chromium (see README.md here). Starts each ComfyUI with the pack of this
repository, puts one node of each class on a canvas, and writes tests/data/node_sizes.json, by
class: `drawn`, the height with which a node stands on the first ComfyUI in both renderers, and
`room`, the most that it takes on any of them in either. px on the canvas, the title bar not
counted. scripts/build_workflows.py lays the workflows out by them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

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
  app.canvas.ds.scale = 0.5; app.canvas.ds.offset = [60, 60];
  classes.forEach((kind, index) => {
    const made = LiteGraph.createNode(kind);
    app.graph.add(made);
    made.pos = [(index % 8) * 430, 40 + Math.floor(index / 8) * 640];
    made.setSize([width, made.computeSize()[1]]);
  });
  app.canvas.setDirty(true, true);
}"""
# ms; layouts settle in the frames after a node is there
SETTLING = 3000


def classes() -> list[str]:
    """The classes of all nodes in the recipes."""
    from scripts.build_workflows import BLUEPRINTS, RECIPES

    recipes = [*(make() for make in RECIPES), *(offer().recipe for offer in BLUEPRINTS)]
    return sorted({node["class_type"] for one in recipes for node in one.graph.values()})


def measured(at: Editor) -> dict[str, int]:
    """By class the height that a node takes in the renderers that the editor has, the larger."""
    wanted = classes()
    found = dict.fromkeys(wanted, 0)
    for modern in at.renderers():
        at.draw_with(modern)
        at.page.evaluate(PUT, [wanted, WIDTH])
        at.page.wait_for_timeout(SETTLING)
        seen: dict[str, Any] = at.page.evaluate(NODES_2 if modern else CLASSIC)
        if not all(seen.values()):
            raise RuntimeError(f"no size of {[kind for kind, size in seen.items() if not size]}")
        print({kind: (found[kind], size) for kind, size in seen.items()}, file=sys.stderr)
        found = {kind: max(size, found[kind]) for kind, size in seen.items()}
    at.draw_with(False)
    return found


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


def write(every: list[dict[str, int]]) -> None:
    """Write what was measured, the newest first."""
    rows = [
        f'{json.dumps(kind)}: {{"drawn": {every[0][kind]}, "room": '
        f"{max(one[kind] for one in every)}}}"
        for kind in sorted(every[0])
    ]
    TARGET.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
