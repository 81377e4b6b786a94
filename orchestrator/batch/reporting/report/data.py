"""What the report's page knows of every picture, as compact JSON that is safe inside HTML.

A batch of 10,000 pictures has as many times the same words, so the page gets tables: what all
pictures share stands there once, and texts are numbers of entries in a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...execution.store.store import Entry
from ..review import DIGITS
from .animations import ReportAnimation
from .captions import Captions
from .history import File
from .statistics import Span, Tried
from .titles import Titles

# Whole numbers above this are not exact in JavaScript, and seeds go up to 2^64-1.
_EXACT = 2**53
# What would end a script element, or a line of JavaScript, though it stands in a text.
_UNSAFE = str.maketrans(
    {one: f"\\u{ord(one):04x}" for one in ("<", ">", "&", "\u2028", "\u2029", "\x7f")}
)


@dataclass(frozen=True, kw_only=True)
class ReportEntry:
    """A job with all that the report shows of it."""

    entry: Entry
    files: Sequence[File]
    # ids, oldest first
    attempts: Sequence[int]

    @property
    def seed(self) -> str | None:
        """The seed of the picture that is there, else the one that is next."""
        if self.files:
            return self.files[0].seed
        seed = self.entry.job.seed_now
        return None if seed is None else str(seed)

    @property
    def prompt(self) -> str:
        """The positive text; "" where the workflow's own was used."""
        return str(self.entry.job.parameters.get("prompt") or "")


class Words:
    """Texts, each kept once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The place of a text in the list."""
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return self._numbers[text]


def shared_parameters(pictures: Sequence[ReportEntry]) -> dict[str, Any]:
    """The parameters that all pictures have with one and the same value."""
    if not pictures:
        return {}
    shared = dict(pictures[0].entry.job.parameters)
    for picture in pictures:
        parameters = picture.entry.job.parameters
        for name in [name for name in shared if not _same(parameters, name, shared[name])]:
            del shared[name]
    return shared


def page_data(
    pictures: Sequence[ReportEntry],
    attempts: Iterable[Tried],
    spans: Iterable[Span],
    *,
    cell: int,
    name: str = "",
    titles: Titles = Titles(),  # noqa: B008  (frozen)
    animations: Iterable[ReportAnimation] = (),
    captions: Captions = Captions(),  # noqa: B008
) -> dict[str, Any]:
    """All that the page's script works on; `report.js` says the same shapes from its side.

    `cell` is the edge of a cell of the contact sheet in pixels, `name` the batch's.
    """
    words = Words()
    shared = shared_parameters(pictures)
    parameters = sorted(
        {name for one in pictures for name in one.entry.job.parameters if name not in shared}
    )
    by_attempt: dict[int, list[int]] = {}
    for span in spans:
        label = titles.span(span.name, span.node_class)
        by_attempt.setdefault(span.attempt, []).extend(
            (words.number(label), round(span.seconds * 1000))
        )
    places: dict[int, int] = {}
    tried = []
    for place, attempt in enumerate(attempts):
        places[attempt.id] = place
        tried.append(_attempt(attempt, words, by_attempt.get(attempt.id, [])))
    return {
        "name": name,
        "cell": cell,
        "caption": [captions.before, captions.after],
        "shared": {titles.parameter(name): _value(value) for name, value in shared.items()},
        "parameters": [titles.parameter(name) for name in parameters],
        "animations": [_animation(one) for one in animations],
        "pictures": [_picture(one, words, parameters, places) for one in pictures],
        "attempts": tried,
        "words": words.texts,
    }


def embedded(data: Any) -> str:
    """JSON for a script element, with nothing in it that HTML or JavaScript could take for more."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(_UNSAFE)


def _picture(
    one: ReportEntry, words: Words, parameters: Sequence[str], places: Mapping[int, int]
) -> list[Any]:
    job = one.entry.job
    return [
        job.name,
        job.item_id,
        words.number(one.entry.state.value),
        one.seed,
        [_value(job.parameters.get(name)) for name in parameters],
        [
            [
                *(file.path, file.width, file.height, file.bytes),
                *(dict(file.measured), file.sha256[:DIGITS]),
            ]
            for file in one.files
        ],
        [places[number] for number in one.attempts if number in places],
        words.number(one.entry.reason),
        job.roll,
    ]


def _animation(one: ReportAnimation) -> list[Any]:
    frames = [list(frame) for frame in one.frames]
    return [one.name, frames, one.duration, one.is_pingpong, one.is_loop]


def _attempt(attempt: Tried, words: Words, spans: list[int]) -> list[Any]:
    return [
        words.number(attempt.server),
        words.number(attempt.outcome.value if attempt.outcome else "open"),
        round(attempt.started_at),
        attempt.seconds and round(attempt.seconds * 1000),
        words.number(attempt.failure.replace("_", " ")),
        words.number(attempt.error),
        words.number(json.dumps(attempt.degraded)[1:-1] if attempt.degraded else ""),
        attempt.size,
        spans,
    ]


def _same(parameters: Mapping[str, Any], name: str, value: Any) -> bool:
    # 1, 1.0 and True are equal and not the same.
    return name in parameters and repr(parameters[name]) == repr(value)


def _value(value: Any) -> Any:
    is_large = isinstance(value, int) and abs(value) > _EXACT
    return str(value) if is_large else value
