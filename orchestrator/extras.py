"""What is installed only on request: extras, and the line that installs one that is missing."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .errors import UsageError

_NAME = "spriteworks"
_OURS = ("orchestrator", "comfy_nodes")


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """For the imports of what is in an extra, and `what` wants it, in words.

    Raises UsageError with the line that installs it where a package of others is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in _OURS:
            raise
        raise missing(extra, what, str(error.name)) from error


def missing(extra: str, what: str, module: str) -> UsageError:
    """The error for a `module` of an extra that is not installed."""
    return UsageError(f"{what} needs {module}, which is not installed: {install_line(extra)}")


def install_line(extra: str) -> str:
    """What to type into a shell to add an extra to this Python, from where Spriteworks came."""
    # PowerShell does not run what stands in quotes.
    python = _quoted(sys.executable) if " " in sys.executable else sys.executable
    return f"{python} -m pip install {_source(extra)}"


def _source(extra: str) -> str:
    match _origin():
        case None:
            return _quoted(f"{_NAME}[{extra}]")
        case {"url": str(url), "dir_info": info}:
            editable = "-e " if info.get("editable") else ""
            return editable + _quoted(f"{url2pathname(urlsplit(url).path)}[{extra}]")
        case {"url": str(url), "vcs_info": {"vcs": str(vcs), "commit_id": str(commit)}}:
            return _quoted(f"{_NAME}[{extra}] @ {vcs}+{url}@{commit}")
        case {"url": str(url)}:
            return _quoted(f"{_NAME}[{extra}] @ {url}")
        case other:
            raise AssertionError(f"direct_url.json without a URL: {other}")


def _origin() -> Any:
    """Where it was installed from, as PEP 610 records it; None where that was a package index."""
    try:
        text = importlib.metadata.distribution(_NAME).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        # a checkout that runs as it stands
        checkout = Path(__file__).resolve().parent.parent
        return {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    return json.loads(text) if text else None


def _quoted(text: str) -> str:
    # Double quotes: POSIX shells, cmd and PowerShell all know them.
    return f'"{text}"'
