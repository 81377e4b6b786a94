"""The hub as huggingface_hub shows it. Its errors, of any version, become ours here.

Only public names of `huggingface_hub` and `huggingface_hub.utils` are used, from 0.19.3 on, the
oldest that ComfyUI's own requirements let in. `hf_hub_download` is not: before 1.0 it tells nobody
how far it is and cannot be stopped, and it leaves folders of its own beside a model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..errors import HubError, HubRefused, HubUnreachable

# For a connection, and for each read, in s.
_TIMEOUT = 30.0
# A hub in trouble, or too busy, is asked again so often, in 1 and 2 s.
_TRIES_AGAIN = 2
_PASSING = (408, 429, 500, 502, 503, 504)
# Bytes handed on at once: what is lost at a cut.
_PIECE = 1 << 20
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
            info = hub.model_info(hub_id, revision=revision, files_metadata=True, timeout=_TIMEOUT)
            files = [_remote(one) for one in info.siblings or []]
        except (ValueError, KeyError, TypeError) as error:  # a page, or JSON of something else
            raise HubUnreachable(
                f"{endpoint()} answers, but not as a model hub does ({_one_line(error)}): is there "
                "a proxy or a login page in between?"
            ) from error
        if not info.sha or not files:
            raise HubUnreachable(f"{endpoint()} lists no files of {hub_id}: is it a model hub?")
        return Listing(hub_id, info.sha, {file.path: file for file in files})


def fetch(listed: Listing, file: RemoteFile, sink: BinaryIO, tell: Callable[[int], None]) -> None:
    """Append to `sink`, which stands behind the first bytes of the file, the rest of it.

    `tell` hears of each piece's bytes, and may raise to stop. Raises HubError; what came until then
    is in `sink`.
    """
    with _errors_of(listed.hub_id):
        at = sink.tell()
        for piece in _pieces(listed, file, at) if at < file.size else ():
            # What is longer than announced shall not fill the disk.
            wanted = piece[: file.size - at]
            sink.write(wanted)
            at += len(wanted)
            tell(len(wanted))
            if at == file.size:
                return
        if at < file.size:
            raise HubUnreachable(
                f"{endpoint()} sent less of a file of {listed.hub_id} than it had announced: try "
                "again; what came so far is kept"
            )


def _pieces(listed: Listing, file: RemoteFile, start: int) -> Iterator[bytes]:
    """The content of a file from a byte on; raises what huggingface_hub raises."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    url = hf_hub_url(listed.hub_id, file.path, revision=listed.commit, endpoint=endpoint())
    # Parts of what is packed on the way could not be put together.
    headers = {**build_hf_headers(library_name="spriteworks"), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with _streamed(url, headers) as (response, pieces):
        hf_raise_for_status(response)
        # Who knows no ranges sends all of it.
        passed_over = start if response.status_code == 200 else 0
        for piece in pieces:
            rest = piece[passed_over:]
            passed_over -= len(piece) - len(rest)
            if rest:
                yield rest


@contextmanager
def _streamed(url: str, headers: dict[str, str]) -> Iterator[tuple[Any, Iterator[bytes]]]:
    """The answer, and its body in pieces: httpx's from huggingface_hub 1.0 on, before requests'."""
    from huggingface_hub import utils

    asked: dict[str, Any] = {
        "headers": headers,
        "timeout": _TIMEOUT,
        "max_retries": _TRIES_AGAIN,
        "retry_on_status_codes": _PASSING,
        # What breaks while the body is read is taken up by the caller.
        "retry_on_exceptions": (),
    }
    streamed: Any = getattr(utils, "http_stream_backoff", None)
    if streamed is not None:
        with streamed("GET", url, **asked) as response:
            yield response, response.iter_bytes(_PIECE)
        return
    opened: Any = utils.http_backoff
    with opened("GET", url, stream=True, **asked) as response:
        yield response, response.iter_content(_PIECE)


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
    if status is not None:
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
    if _library_of(type(error)) in _libraries_below(HfHubHTTPError):
        return HubUnreachable(
            f"{where} does not answer ({type(error).__name__}: {_one_line(error)}): check the "
            f"network and HF_ENDPOINT; what came of {hub_id} so far is kept"
        )
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _libraries_below(kind: type) -> set[str]:
    """The libraries that a class of huggingface_hub stands on: its HTTP library, of any version."""
    own = {_library_of(kind), _library_of(object)}
    return {_library_of(base) for base in kind.__mro__} - own


def _library_of(kind: type) -> str:
    return kind.__module__.split(".")[0]
