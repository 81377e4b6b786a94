"""Where the next page of a list begins, as a text that clients hand back."""

from __future__ import annotations

import base64

from ..errors import RequestRefused

_KIND = "jobs"


def cursor_of(place: int) -> str:
    """The cursor for the page behind a place."""
    return base64.urlsafe_b64encode(f"{_KIND}:{place}".encode()).decode("ascii").rstrip("=")


def place_of(cursor: str) -> int:
    """The place that a cursor means; raises RequestRefused for one that is none of ours."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        kind, _, place = base64.urlsafe_b64decode(padded).decode("ascii").partition(":")
        is_ours = kind == _KIND and place.isdigit() and cursor_of(int(place)) == cursor
    except ValueError:
        is_ours, place = False, ""
    if not is_ours:
        raise RequestRefused("invalid_cursor", "that cursor is none of ours; begin without one")
    # what the database takes for a place
    return min(int(place), 2**31 - 1)
