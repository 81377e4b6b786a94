"""Where nodes and groups lie, from the sizes that the editor really gives them.

tests/data/node_sizes.json holds what record_sizes.py measured: of each class the height with
which a node stands on the newest ComfyUI, and the most that it takes on any version and in either
renderer, with its advanced settings shown. Nodes are drawn with the one, and kept apart by the
other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .recipe import NOTE, Group, Recipe

# px on the canvas
TITLE = 30
GAP = 30
# Between two columns, with room for the links.
ACROSS = 40
# Around the nodes of a group, and above them with its own title.
PADDING, HEAD = 20, 50
BETWEEN_GROUPS = 40

NOTE_WIDTH = 340
WIDTH = 300
# What texts and pictures need beyond the least that the editor gives, and a sheet whose folded
# pivot is linked, and so shown.
WANTED = {
    "CLIPTextEncode": 170,
    "LoadImage": 340,
    "LoadImageMask": 360,
    "SaveImage": 340,
    "SpriteworksSpriteSheet": 300,
}

# Pictures that a node shows side by side, and the width and height of each with what is written
# under it (comfy_nodes/web/results.js).
PICTURES_ACROSS = 4
PICTURE = (108, 150)
# Of a node, beside and around its pictures.
_SIDES, _AROUND = 32, 130

Sizes = Mapping[str, Mapping[str, int]]
# x, y, width, height in px, the title bar of a node not counted
Box = tuple[int, int, int, int]


@dataclass
class Layout:
    """Boxes of the nodes by id (the note by NOTE), and of the groups that have a frame."""

    nodes: dict[str, Box] = field(default_factory=dict)
    groups: list[tuple[Group, Box]] = field(default_factory=list)

    def bounds(self) -> Box:
        """The box around everything."""
        boxes = [*self.nodes.values(), *(box for _, box in self.groups)]
        left, top = min(box[0] for box in boxes), min(box[1] for box in boxes) - TITLE
        right = max(box[0] + box[2] for box in boxes)
        bottom = max(box[1] + box[3] for box in boxes)
        return left, top, right - left, bottom - top


def laid_out(recipe: Recipe, sizes: Sizes) -> Layout:
    """The places of all nodes and groups of a recipe."""
    layout, left = Layout(), 0
    for region in recipe.regions:
        top, right = 0, left
        for group in region:
            last = group is region[-1]
            (_, _, width, height) = _place(group, left, top, recipe, sizes, layout, last)
            top += height + BETWEEN_GROUPS
            right = max(right, left + width)
        left = right + BETWEEN_GROUPS
    return layout


def _place(
    group: Group,
    left: int,
    top: int,
    recipe: Recipe,
    sizes: Sizes,
    layout: Layout,
    last: bool,
) -> Box:
    """Put a group with its upper left corner there; its box.

    Below the last group of a region nothing lies: what is opened in it grows there. The nodes of a
    column are as wide as its widest.
    """
    inset, head = (PADDING, HEAD) if group.title else (0, 0)
    x, bottom = left + inset, top
    for column in group.columns:
        y, wide = top + head, _width(column, recipe)
        for key, height, room in _cells(column, recipe, sizes):
            y += TITLE
            layout.nodes[key] = (x, y, wide, height)
            end = y + (height if last else room)
            y += room + GAP
        x, bottom = x + wide + ACROSS, max(bottom, end)
    box = (left, top, x - ACROSS + inset - left, bottom + inset - top)
    if group.title:
        layout.groups.append((group, box))
    return box


def _width(column: list[str], recipe: Recipe) -> int:
    if NOTE in column:
        return NOTE_WIDTH
    return max(recipe.least.get(key, (WIDTH, 0))[0] for key in column)


def _cells(column: list[str], recipe: Recipe, sizes: Sizes) -> Iterator[tuple[str, int, int]]:
    """Key, height as drawn, and height to keep free, of each node of a column."""
    for key in column:
        if key == NOTE:
            height = note_height(recipe.note)
            yield key, height, height
            continue
        kind = recipe.graph[key]["class_type"]
        wanted = max(WANTED.get(kind, 0), recipe.least.get(key, (0, 0))[1])
        yield key, max(wanted, sizes[kind]["drawn"]), max(wanted, sizes[kind]["room"])


def showing(pictures: int) -> tuple[int, int]:
    """The width and height in px of a node that shows so many pictures without scrolling."""
    width, height = PICTURE
    rows = -(-pictures // PICTURES_ACROSS)
    return PICTURES_ACROSS * width + _SIDES, rows * height + _AROUND


def note_height(text: str) -> int:
    """px that a note of that Markdown text takes, NOTE_WIDTH wide."""
    lines = 0.0
    for paragraph in text.split("\n"):
        # 46 letters a line; a heading is larger, an empty line is the space between two.
        lines += 2.4 if paragraph.startswith("## ") else -(-len(paragraph) // 46) or 0.6
    return round(lines * 2.1) * 10 + 50
