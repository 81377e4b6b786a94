"""Embeddings that the texts of a graph name, and a server lacks; with no I/O.

ComfyUI leaves a missing one out of the text, with a line in its own log only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from ..protocol import Graph
from .wording import did_you_mean

# As ComfyUI cuts texts (comfy/sd1_clip.py, 0.33.0): at the start of a word, up to a blank, a
# parenthesis, or the marks of other tools.
_NAMED = re.compile(r"(?:^|(?<=[\s(]))embedding:([^\s()<\[]+)")
_WEIGHT = re.compile(r":-?\d*\.?\d+$")
_SUFFIX = re.compile(r"\.(safetensors|pt|bin)$", re.IGNORECASE)


def named_embeddings(graph: Graph) -> list[str]:
    """What follows `embedding:` in the graph's texts, each once and in order.

    A weight after the name and a comma are still there: "style:1.2,".
    """
    texts = (value for node in graph.values() for value in node["inputs"].values())
    names = (name for text in texts if isinstance(text, str) for name in _NAMED.findall(text))
    return list(dict.fromkeys(names))


def missing_embeddings(named: Collection[str], known: Collection[str]) -> Iterator[str]:
    """A sentence for each of the names that is not among the server's, which have no suffix."""
    plain = {_plain(name) for name in known}
    for name in named:
        bare = _WEIGHT.sub("", name.rstrip(","))
        if not {_plain(name), _plain(name.rstrip(",")), _plain(bare)} & plain:
            yield (
                f"the server has no embedding {bare!r}{did_you_mean(bare, known)}; it is left out "
                "of the text"
            )


def _plain(name: str) -> str:
    return _SUFFIX.sub("", name.replace("\\", "/"))
