"""What a shipped workflow is, before it is laid out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.protocol import Graph

Link = list[Any]

# The note, among the nodes of a layout.
NOTE = "note"

# Of the groups' titles, by what is in them.
MODEL, TEXTS, SAMPLING = "#3f789e", "#8A8", "#b58b2a"
PICTURES, RESULT, SHEET = "#a1309b", "#88A", "#3f789e"


@dataclass(frozen=True)
class Group:
    """Nodes that belong together, in columns from left to right; without a title no frame."""

    columns: list[list[str]]
    title: str = ""
    colour: str = ""


@dataclass
class Recipe:
    """A workflow: its graph, what it says of itself, and what lies where."""

    name: str
    title: str
    # One sentence: what it makes of what.
    description: str
    tags: tuple[str, ...]
    graph: Graph = field(default_factory=dict)
    # From left to right, in each from top to bottom.
    regions: list[list[Group]] = field(default_factory=list)
    # nodes whose seed stays after a run, where the editor draws new ones otherwise
    fixed: set[str] = field(default_factory=set)
    # Least width and height in px of nodes that show more than others of their class.
    least: dict[str, tuple[int, int]] = field(default_factory=dict)
    # The note: how to use it, and what to try, three of which one can be pasted into a node.
    how: str = ""
    tries: tuple[str, ...] = ()
    # Files of workflows/inputs that it opens with.
    pictures: tuple[str, ...] = ()

    def add(self, class_type: str, title: str, **inputs: Any) -> str:
        """Add a node and return its id."""
        node_id = str(len(self.graph) + 1)
        self.graph[node_id] = {
            "class_type": class_type,
            "inputs": inputs,
            "_meta": {"title": title},
        }
        return node_id

    def picture(self, title: str, name: str) -> str:
        """Add a Load Image of a picture that comes with the pack, and return its id."""
        self.pictures += (name,)
        return self.add("LoadImage", title, image=name)

    @property
    def note(self) -> str:
        """The text of the note, as Markdown."""
        tries = "".join(f"\n- {one}" for one in self.tries)
        return f"## {self.title}\n{self.how}\n\n**Try:**{tries}"
