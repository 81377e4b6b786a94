"""Traces that go through: the headers `traceparent` and `tracestate` of W3C Trace Context, level 1.

https://www.w3.org/TR/trace-context/. A request that brings none, or a wrong one, begins a trace.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

# version, trace, parent, flags, and what only later versions have
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 1
# members of a tracestate, and characters that everybody must pass on
_MOST_MEMBERS, _LONGEST_STATE = 32, 512
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(f"({_KEY})={_VALUE}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """A place in a trace: one span of it."""

    # 32 and 16 hexadecimal digits, neither all zeros
    trace_id: str
    span_id: str
    # the span that this one is a part of; "" where the trace begins here
    parent_id: str = ""
    sampled: bool = True
    # what other vendors keep of the trace
    state: str = ""

    @property
    def header(self) -> str:
        """The value of `traceparent` for whoever is called from here."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def begun(parents: Sequence[str], states: Sequence[str] = ()) -> Trace:
    """A span for a request with these `traceparent` and `tracestate` headers."""
    parent = parsed(parents[0], states) if len(parents) == 1 else None
    span = secrets.token_hex(8)
    if parent is None:
        return Trace(trace_id=secrets.token_hex(16), span_id=span)
    return replace(parent, span_id=span, parent_id=parent.span_id)


def parsed(parent: str, states: Sequence[str] = ()) -> Trace | None:
    """What a `traceparent` says; None where it says nothing that counts."""
    found = _PARENT.fullmatch(parent.strip(" \t"))
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return Trace(
        trace_id=trace,
        span_id=span,
        sampled=bool(int(flags, 16) & _SAMPLED),
        state=_state(states),
    )


def job_trace(parent: Trace, job_id: str) -> Trace:
    """The span of a job, from its submission to its end: the same in every process."""
    return replace(parent, span_id=job_id.replace("-", "")[:16], parent_id=parent.span_id)


def _state(headers: Sequence[str]) -> str:
    """A `tracestate` as it is passed on; "" where a member of it is wrong."""
    members = [one.strip(" \t") for header in headers for one in header.split(",")]
    members = [one for one in members if one]
    found = [_MEMBER.fullmatch(one) for one in members]
    keys = {one[1] for one in found if one is not None}
    if len(members) > _MOST_MEMBERS or len(keys) < len(members):
        return ""
    state = ",".join(members)
    return state if len(state) <= _LONGEST_STATE else ""
