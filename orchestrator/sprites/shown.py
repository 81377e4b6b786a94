"""What the commands on pictures show: a line and a bar for each result, then where they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import typer

from ..screen import Bar, Screen


class _Result(Protocol):
    """A `files.PictureResult` of any kind, which this module need not import."""

    @property
    def ok(self) -> bool: ...
    @property
    def saved(self) -> Path | None: ...
    def to_json(self) -> dict[str, Any]: ...


Shown = TypeVar("Shown", bound=_Result)


def report_on(
    screen: Screen, doing: str, line: Callable[[Shown], str]
) -> Callable[[Shown, int, int], None]:
    """What `report` is to be: it says `line` of each result, and shows a bar that says `doing`."""

    def told(result: Shown, done: int, total: int) -> None:
        screen.say(line(result))
        screen.show(Bar(doing, done, total))

    return told


def end(
    results: Sequence[Shown],
    as_json: bool,
    succeeded: Callable[[Shown], bool] = lambda result: result.ok,
) -> None:
    """Print where the results are, or the JSON instead; exit code 1 where one did not succeed."""
    if as_json:
        print_json([result.to_json() for result in results])
    else:
        for result in results:
            if result.ok:
                print(result.saved)
    if not all(map(succeeded, results)):
        raise typer.Exit(1)


def print_json(data: Any) -> None:
    """For programs, on standard output."""
    print(json.dumps(data, indent=2))
