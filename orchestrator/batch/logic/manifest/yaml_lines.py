"""YAML as plain data that knows its lines, so that a mistake can be pointed at; with no I/O.

Scalars follow YAML 1.2, unlike PyYAML's own: `no`, `on`, `1:30` and `2024-01-01` are texts. What
would lose its spelling as a value (`1.10`, `445e21`, `0x1F`, `~`) stays as it was written, see
`PlainScalar`, for it may stand where a text is wanted. Data is built straight from the parser's
events: the nodes that PyYAML would make in between take five times the memory of the data, and a
manifest may have 100,000 items.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

# How deep lists and mappings may be nested; a manifest needs five.
_DEEPEST = 30

# Where something stands: keys and numbers from the top.
FieldPath: TypeAlias = tuple[str | int, ...]
Lines: TypeAlias = dict[FieldPath, int]

# libyaml is ten times as fast; wheels of PyYAML have it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Leading zeros are kept: 007 is more likely a name than seven.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,40})\Z|0x[0-9a-fA-F]{1,40}\Z|0o[0-7]{1,40}\Z")
_FLOAT = re.compile(
    r"[-+]?([0-9]*\.[0-9]+|[0-9]+\.)([eE][-+]?[0-9]+)?\Z|[-+]?[0-9]+[eE][-+]?[0-9]+\Z"
)
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_START = frozenset("+-.0123456789")


class YamlError(Exception):
    """A text that is no YAML, or uses what is not read here; never leaves `manifest_file`."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        # from 1
        self.line = line


class PlainScalar(str):
    """An unquoted scalar as it was written, where its value would be written otherwise."""

    __slots__ = ()

    @property
    def value(self) -> int | float | bool | None:
        """What it means where no text is wanted."""
        found: int | float | bool | None = scalar(self)
        return found


def text_problem(text: str) -> str | None:
    """What is wrong with a text, which escapes of YAML and JSON can write, or None."""
    if "\0" in text:
        return "a text has a NUL character in it; take it out"
    if text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text):
        return None
    return "a text has half a character in it (a lone surrogate); write the whole one"


def meaning(value: Any) -> Any:
    """What a value means where no text is wanted."""
    return value.value if isinstance(value, PlainScalar) else value


def as_text(value: Any) -> str:
    """A value where a text is wanted: as it was written; true and false as YAML writes them."""
    if isinstance(value, str):
        return str(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain_scalar(text: str) -> Any:
    """What an unquoted scalar is where nobody knows yet whether a text is wanted.

    None only where nothing is written.
    """
    value = scalar(text)
    if isinstance(value, str) or text == "" or as_text(value) == text:
        return value
    return PlainScalar(text)


def read_yaml(text: str, lines: Lines | None = None) -> Any:
    """The data of the one document in `text`.

    `lines`, where given, is filled with the line, from 1, of every field. That is slow, so it is
    for the case that something is wrong. Raises YamlError.
    """
    try:
        return _Builder(text, lines).document()
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = error.problem or "it cannot be read"
        raise YamlError(f"this is not YAML: {problem}", line) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"this is not YAML: {error.reason}", line) from error


def scalar(text: str) -> Any:
    """What an unquoted scalar means: None, a boolean, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    if _INTEGER.match(text):
        return int(text, 0)
    return float(text) if _FLOAT.match(text) else text


class _Builder:
    def __init__(self, text: str, lines: Lines | None) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._lines = lines
        self._anchors: dict[str, Any] = {}
        # In JSON, which is YAML, too, null is no text that somebody wrote.
        self._is_json = text.lstrip()[:1] in ("{", "[")

    def document(self) -> Any:
        data = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                data = self._value(next(self._events), ())
                self._only_one()
        return data

    def _only_one(self) -> None:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                raise _wrong("a second document begins here, and one is read", event)

    def _value(self, event: Any, path: FieldPath) -> Any:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _wrong(f"there is no anchor &{event.anchor} before this", event)
            return self._anchors[event.anchor]
        if len(path) > _DEEPEST:
            raise _wrong(f"this is nested more than {_DEEPEST} deep", event)
        if event.tag is not None:
            raise _wrong(f"tags such as {event.tag} are not read; write the value as it is", event)
        value = self._built(event, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _built(self, event: Any, path: FieldPath) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            problem = text_problem(event.value)
            if problem:
                raise _wrong(problem, event)
            return self._scalar(event.value) if event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _scalar(self, text: str) -> Any:
        return None if self._is_json and text == "null" else plain_scalar(text)

    def _sequence(self, path: FieldPath) -> list[Any]:
        values: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            here = (*path, len(values))
            if self._lines is not None:
                self._lines[here] = _line(event)
            values.append(self._value(event, here))
        return values

    def _mapping(self, path: FieldPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise _wrong("a field's name must be a plain text", event)
            problem = text_problem(event.value)
            if problem:
                raise _wrong(problem, event)
            # 100,000 items have the same few names; kept once they save 30 MB
            name = sys.intern(event.value)
            here = (*path, name)
            if self._lines is not None:
                self._lines[here] = _line(event)
            value = self._value(next(self._events), here)
            if name == "<<" and event.implicit[0]:
                merged = {**_mappings(value, event), **merged}
            elif name in values:
                raise _wrong(f"the field {name} stands here a second time", event)
            else:
                values[name] = value
        return {**merged, **values} if merged else values


def _mappings(value: Any, event: Any) -> dict[str, Any]:
    """What `<<: *anchor` or `<<: [*one, *other]` brings in; the first named wins."""
    found: dict[str, Any] = {}
    for one in reversed(value if isinstance(value, list) else [value]):
        if not isinstance(one, dict):
            raise _wrong("<< takes fields from a mapping, and this is none", event)
        found.update(one)
    return found


def _wrong(message: str, event: Any) -> YamlError:
    return YamlError(message, _line(event))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
