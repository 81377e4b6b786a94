"""HTML from templates, and the files that the page loads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ...version import __version__

# Scripts and styles come from here only, as files; nobody may frame the page.
POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HERE = "orchestrator.service.page"
# name, and the package and folder that it is in, and its type
_STATIC: Mapping[str, tuple[str, str, str]] = {
    "report.css": ("orchestrator.batch.reporting.report", "web", "text/css"),
    "page.css": (_HERE, "web", "text/css"),
    "htmx.min.js": (_HERE, "web", "text/javascript"),
    "hx-sse.min.js": (_HERE, "web", "text/javascript"),
    "page.js": (_HERE, "web", "text/javascript"),
    "mask.js": (_HERE, "web", "text/javascript"),
    "icon.svg": (_HERE, "web", "image/svg+xml"),
}


@dataclass(frozen=True, kw_only=True)
class Static:
    """A file that the page loads."""

    content: bytes
    content_type: str
    etag: str


@cache
def static(name: str) -> Static | None:
    """A file by its name; None where there is none."""
    if name not in _STATIC:
        return None
    package, folder, kind = _STATIC[name]
    content = resources.files(package).joinpath(folder, name).read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Static(content=content, content_type=kind, etag=etag)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader(_HERE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["about"] = about
    made.filters["size"] = size
    made.globals["version"] = __version__
    return made


def render(template: str, **values: Any) -> str:
    """A template, filled; every value is escaped."""
    return _environment().get_template(f"{template}.html.j2").render(values)


def about(seconds: float) -> str:
    """Seconds for people, rounded as far as an estimate is worth."""
    if seconds < 2:
        return "a moment"
    if seconds < 60:
        step = 1 if seconds < 10 else 5
        return f"about {round(seconds / step) * step} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
