"""The hub as huggingface_hub shows it. Its errors, of any version, become ours here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..errors import HubError, HubRefused, HubUnreachable

# The HTTP libraries that huggingface_hub has used: requests before 1.0, then httpx.
_TRANSPORTS = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2")
_LISTING_TIMEOUT = 30.0  # seconds
_TRUE = ("1", "on", "yes", "true")


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub: bytes, and the SHA-256 of large ones or git's SHA-1 of small ones."""

    path: str
    size: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True)
class Listing:
    """A repository at one commit."""

    hub_id: str
    commit: str
    files: Mapping[str, RemoteFile]


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, else huggingface.co."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def listing(hub_id: str, revision: str | None = None) -> Listing:
    """The files of a repository, at `revision` or the newest. Raises HubError."""
    with _errors_of(hub_id):
        from huggingface_hub import HfApi

        hub = HfApi(endpoint=endpoint())
        try:
            info = hub.model_info(
                hub_id, revision=revision, files_metadata=True, timeout=_LISTING_TIMEOUT
            )
            files = [_remote(one) for one in info.siblings or []]
        except (ValueError, KeyError, TypeError) as error:  # a page, or JSON of something else
            raise HubUnreachable(
                f"{endpoint()} answers, but not as a model hub does ({_one_line(error)}): is there "
                "a proxy or a login page in between?"
            ) from error
        if not info.sha or not files:
            raise HubUnreachable(f"{endpoint()} lists no files of {hub_id}: is it a model hub?")
        return Listing(hub_id, info.sha, {file.path: file for file in files})


def fetch(listed: Listing, file: RemoteFile, sink: BinaryIO, have: int) -> None:
    """Append to `sink`, which holds the first `have` bytes of the file, the rest of it.

    A connection that breaks is taken up again a few times. Raises HubError; what came until then
    is in `sink`.
    """
    with _errors_of(listed.hub_id), _quiet():
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(listed.hub_id, file.path, revision=listed.commit, endpoint=endpoint())
        http_get(
            url,
            sink,
            resume_size=have,
            headers=build_hf_headers(library_name="spriteworks"),
            expected_size=file.size,
            displayed_filename=file.path,
        )


class Counted:
    """A file open for writing that tells how many bytes were written to it."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._file = file
        self._tell = tell

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._tell(len(data))
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _remote(sibling: Any) -> RemoteFile:
    large = sibling.lfs
    sha256 = None if large is None else large["sha256"]
    return RemoteFile(sibling.rfilename, int(sibling.size or 0), sha256, sibling.blob_id)


@contextmanager
def _errors_of(hub_id: str) -> Iterator[None]:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE:
        raise HubUnreachable(
            f"HF_HUB_OFFLINE is set, so {hub_id} is not asked for at the hub: unset it, or use "
            "what is on this machine"
        )
    try:
        yield
    except ImportError as error:
        raise HubError(
            "downloads need the library huggingface_hub, which is not installed: "
            "pip install huggingface_hub"
        ) from error
    except HubError:
        raise
    except Exception as error:
        ours = _translated(error, hub_id)
        if ours is None:
            raise
        raise ours from error


def _translated(error: Exception, hub_id: str) -> HubError | None:
    from huggingface_hub.utils import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    where = endpoint()
    if isinstance(error, GatedRepoError):
        return HubRefused(
            f"{hub_id} is gated: accept its terms at {where}/{hub_id}, then log in with "
            "'hf auth login' or set HF_TOKEN"
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, RepositoryNotFoundError):
        return HubRefused(
            f"{where} has no model {hub_id} for this user (HTTP {status}): it was moved, removed "
            "or made private; for a private one log in with 'hf auth login' or set HF_TOKEN"
        )
    if isinstance(error, HfHubHTTPError) and status is not None:
        if status in (401, 403):
            return HubRefused(
                f"{where} refuses {hub_id} (HTTP {status}): log in with 'hf auth login' or set "
                "HF_TOKEN"
            )
        if status < 500 and status != 429:
            return HubRefused(f"{where} refuses a file of {hub_id} (HTTP {status})")
        return HubUnreachable(
            f"{where} cannot give {hub_id} now (HTTP {status}): try again later; what came so far "
            "is kept"
        )
    if type(error).__module__.split(".")[0] in _TRANSPORTS:
        return HubUnreachable(
            f"{where} does not answer ({type(error).__name__}: {_one_line(error)}): check the "
            f"network and HF_ENDPOINT; what came of {hub_id} so far is kept"
        )
    if isinstance(error, OSError) and "onsistency" in str(error):
        return HubUnreachable(
            f"{where} sent less of a file of {hub_id} than it had announced: try again; what came "
            "so far is kept"
        )
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without huggingface_hub's own progress bars, for this block."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()
