"""Texts that the editor changes when it sends a graph: choices, comments and names in file names.

In inputs declared `dynamicPrompts`, `{a|b}` becomes one of its parts, and comments go. In the file
names of nodes that save, `%Node.widget%` becomes a value and `%date:yyyy-MM-dd%` the time. It is
done last, so that what `--set` gives counts. Choices follow from the seed, so that a run can be
repeated, and from the text, so that equal texts are given the same choice.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ..errors import BadValue
from ..protocol import Graph

# (node id, input)
Where = tuple[str, str]

# The ends of lines are JavaScript's.
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n\r\u2028\u2029]*", re.DOTALL)
_ESCAPED = re.compile(r"\\([{}|])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
# Choices within choices, each of which is a call within a call; nobody writes so many.
_DEEPEST = 100
_TOKEN = re.compile(r"%([^%]+)%")
# What no file name can hold, and slashes, which would make folders.
_UNFIT = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')
_DATE_PART = re.compile(r"dd?|MM?|hh?|mm?|ss?|yyy?y?")


@dataclass(frozen=True, kw_only=True)
class Named:
    """A node of a canvas that a file name can take values from."""

    alias: str
    title: str
    node_id: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Which texts of a graph are changed when it is sent, and from what."""

    # texts with choices; True where comments go, too, as in all that was written in the editor
    prompts: Mapping[Where, bool] = field(default_factory=dict)
    # texts with names between per cent signs
    file_names: frozenset[Where] = frozenset()
    # the nodes that those names may mean, in the editor's order
    names: tuple[Named, ...] = ()

    def with_prompts(self, places: Iterable[Where]) -> Texts:
        """The same where texts with choices were put in from outside."""
        return replace(self, prompts={**self.prompts, **dict.fromkeys(places, False)})

    def without(self, places: Iterable[Where]) -> Texts:
        """The same without texts with choices at these places."""
        gone = set(places)
        return replace(
            self, prompts={key: kept for key, kept in self.prompts.items() if key not in gone}
        )

    def sent(
        self,
        graph: Graph,
        seed: int | None,
        changed: Iterable[Where] = (),
        now: datetime | None = None,
    ) -> Graph:
        """A copy of `graph` with its texts as the server shall get them.

        `changed` are inputs whose value is another than the canvas had, where names count anew.
        """
        found: dict[Where, str] = {}
        for where in self.file_names:
            text = _text_at(graph, where)
            if text is not None and "%" in text:
                found[where] = self._named(text, graph, frozenset(changed), now)
        for where, is_written in self.prompts.items():
            text = found.get(where, _text_at(graph, where))
            if text is not None:
                found[where] = resolved(text, seed, comments=is_written)
        result = {key: {**node, "inputs": dict(node["inputs"])} for key, node in graph.items()}
        for (node_id, name), text in found.items():
            result[node_id]["inputs"][name] = text
        return result

    def _named(
        self, text: str, graph: Graph, changed: frozenset[Where], now: datetime | None
    ) -> str:
        def value(match: re.Match[str]) -> str:
            parts = match[1].split(".")
            if len(parts) != 2:
                is_date = parts[0].startswith("date:")
                return date(parts[0][5:], now or datetime.now()) if is_date else match[0]
            node = self._node(parts[0])
            if node is None or parts[1] not in node.values:
                return match[0]
            held = node.values[parts[1]]
            if (node.node_id, parts[1]) in changed:
                held = graph[node.node_id]["inputs"][parts[1]]
            return _UNFIT.sub("_", as_text(held))

        return _TOKEN.sub(value, text)

    def _node(self, name: str) -> Named | None:
        """By its alias, else by its title: the first."""
        by_alias = (node for node in self.names if node.alias == name)
        by_title = (node for node in self.names if node.title == name)
        return next(by_alias, None) or next(by_title, None)


def _text_at(graph: Graph, where: Where) -> str | None:
    node = graph.get(where[0])
    text = node["inputs"].get(where[1]) if node else None
    return text if isinstance(text, str) else None


def may_choose(value: Any) -> bool:
    """Whether a value is a text in which a choice could stand."""
    return isinstance(value, str) and "{" in value


def resolved(text: str, seed: int | None, *, comments: bool) -> str:
    r"""A text with its choices made by `seed`; `\{`, `\|` and `\}` are those letters themselves.

    With `comments` what stands behind // and between /* and */ goes. Raises BadValue where more
    than 100 choices are within one another.
    """
    if not comments and not may_choose(text) and "\\" not in text:
        return text
    _check_depth(text)
    return _resolved(text, random.Random(f"{seed or 0}/{text}"), comments)


def _check_depth(text: str) -> None:
    depth = 0
    for match in _BRACE.finditer(text):
        depth = max(0, depth + (match[0] == "{") - (match[0] == "}"))
        if depth > _DEEPEST:
            raise BadValue(f"a text has more than {_DEEPEST} choices within one another")


def _resolved(text: str, chance: random.Random, comments: bool) -> str:
    if comments:
        text = _COMMENT.sub("", text)
    parts: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == "{":
            options, at = _options(text, at + 1)
            parts.append(_resolved(chance.choice(options), chance, comments))
            continue
        length = 2 if text[at] == "\\" else 1
        parts.append(text[at : at + length])
        at += length
    return _ESCAPED.sub(r"\1", "".join(parts))


def _options(text: str, at: int) -> tuple[list[str], int]:
    """The parts of a choice that begins at `at`, and where it ends; one left open goes to the end.

    Choices within are left in their part.
    """
    options: list[str] = []
    begin, depth = at, 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 2
            continue
        if letter == "}" and not depth:
            return [*options, text[begin:at]], at + 1
        if letter == "|" and not depth:
            options.append(text[begin:at])
            begin = at + 1
        depth += (letter == "{") - (letter == "}")
        at += 1
    return [*options, text[begin:]], at


def escaped(text: str) -> str:
    """Braces that are meant, where the editor would pick one of several texts."""
    return text.replace("{", "\\{").replace("}", "\\}")


def date(pattern: str, moment: datetime) -> str:
    """A time as `yyyy-MM-dd hh:mm:ss` and its parts spell it; other letters stay."""
    numbers = {
        "d": moment.day,
        "M": moment.month,
        "h": moment.hour,
        "m": moment.minute,
        "s": moment.second,
    }

    def part(match: re.Match[str]) -> str:
        letters = match[0]
        if letters[0] in numbers:
            return str(numbers[letters[0]]).zfill(len(letters))
        year = str(moment.year)
        return {2: year[2:], 4: year}.get(len(letters), letters)

    return _DATE_PART.sub(part, pattern)


def as_text(value: Any) -> str:
    """A value as the editor writes it into a text: 8.0 is "8"."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if isinstance(value, list | tuple):
        return ",".join(map(as_text, value))
    return str(value)
