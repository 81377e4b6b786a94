"""Texts with names in braces, and names of files that every system can keep; with no I/O."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ....runs.picture_formats import SUFFIXES
from ....workflow.wording import did_you_mean, listed
from .yaml_lines import as_text

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"[^\W\d]\w*\Z")
# Windows keeps these for devices, with any suffix and in any case.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|\Z)", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\w.()+-]+")
# Most systems take 255 bytes a name; the suffix and our temporary ending need some.
_LONGEST = 200
_SUFFIXES = tuple(SUFFIXES.values())
# Pictures that the batch folder holds besides those of jobs.
_TAKEN = frozenset({"contact"})
# Other files there, which no folder may be called like; those of SQLite begin with its name.
_FILES = (
    "batch.sqlite",
    "batch.lock",
    "batch.log",
    "batch.plan.json.gz",
    "batch.store.json",
    "report.html",
)


class TemplateError(ValueError):
    """A text that cannot be filled in; the message says why."""


@lru_cache(maxsize=10_000)
def _pieces(text: str) -> tuple[tuple[str, str], ...]:
    """(text, name that follows it or "") of a template; raises TemplateError on wrong braces."""
    found, begin, literal = [], 0, ""
    for match in _PART.finditer(text):
        literal += text[begin : match.start()]
        begin = match.end()
        if match[0] in ("{{", "}}"):
            literal += match[0][0]
            continue
        if match[1] is None:
            raise TemplateError(
                f"there is a single {match[0]} in {_short(text)}; write {match[0] * 2} for a brace "
                "that is meant"
            )
        if not _NAME.match(match[1]):
            raise TemplateError(
                f"{match[0]} is no name of a variable; write {{{match[0]}}} for braces that are "
                "meant"
            )
        found.append((literal, match[1]))
        literal = ""
    return (*found, (literal + text[begin:], ""))


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Put values in for the names in braces; raises TemplateError for a name that is not there."""
    if "{" not in text and "}" not in text:
        return text
    parts = []
    for literal, name in _pieces(text):
        parts.append(literal)
        if not name:
            continue
        if name not in values:
            raise TemplateError(
                f"there is no variable {name!r}{did_you_mean(name, values)} for {_short(text)} "
                f"(there is: {listed(values)})"
            )
        parts.append(as_text(values[name]))
    return "".join(parts)


@lru_cache(maxsize=10_000)
def slug(text: str) -> str:
    """A text as part of a file name: "Dark blue!" is "Dark-blue". Letters of any script stay."""
    return _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip("-. ")


def name_problem(name: str) -> str | None:
    """What is wrong with a picture's name (no suffix, "/" between folders), or None."""
    if name.casefold() in _TAKEN:
        return f"{name} is the name of a file that Spriteworks itself writes there"
    *folders, _ = parts = name.split("/")
    if folders and folders[0].casefold().startswith(_FILES):
        return f"{folders[0]} is the name of a file that Spriteworks itself writes there"
    for folder in folders:
        if folder.casefold().endswith(_SUFFIXES):
            return f"the folder {_short(folder)} is called like a picture, and one may be there"
    for part in parts:
        problem = _part_problem(part)
        if problem:
            return problem
    return None


def _part_problem(part: str) -> str | None:
    if not part:
        return "it is empty, or begins or ends with /, or has // in it"
    if _UNSAFE.search(part):
        return f"{_short(part)} has characters that not every system can keep"
    if part[0] == "." or part[-1] in ". ":
        return f"{_short(part)} begins or ends with a dot"
    if _DEVICE.match(part):
        return f"{_short(part)} is the name of a device on Windows"
    if len(part.encode()) > _LONGEST:
        return f"{_short(part)} is longer than {_LONGEST} bytes; give a shorter `output`"
    return None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
