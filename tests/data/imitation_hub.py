"""A model hub on loopback that speaks as much of the hub's HTTP as huggingface_hub needs.

Listings at /api/models/ID, files at /ID/resolve/COMMIT/PATH. Large files (safetensors) are answered
by a redirect to a second port, as the hub's storage is another host; small ones directly. Faults
are set by the test.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    by_storage: bool


@dataclass
class Hub:
    """What the hub holds and how it behaves."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    # Hub id -> (status, X-Error-Code): refused on every request.
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    # Path -> bytes after which the connection breaks, once.
    cuts: dict[str, int] = field(default_factory=dict)
    # Path -> other bytes than the listing's checksum is of.
    spoiled: dict[str, bytes] = field(default_factory=dict)
    # After the next cut, files are answered by this status.
    then: int | None = None
    # Parts of files are sent where they are asked for.
    knows_ranges: bool = True
    # So many answers by `down`, then by the file again; None: for ever.
    recovers_after: int | None = None
    # A page instead of every answer.
    page: bool = False
    # Connections are closed without an answer.
    hangs_up: bool = False
    # Called before a file's content is sent.
    before: Callable[[str], None] = lambda path: None
    log: list[Asked] = field(default_factory=list)
    url: str = ""
    storage_url: str = ""
    down: int | None = None

    def add(self, hub_id: str, folder: Path) -> None:
        """A repository with the files of a folder."""
        files = (path for path in folder.rglob("*") if path.is_file())
        self.repositories[hub_id] = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in files
        }

    def asked_for(self, path: str) -> list[Asked]:
        """The requests for a file's content."""
        return [one for one in self.log if one.method == "GET" and one.path.endswith(path)]

    def listing(self, hub_id: str) -> dict[str, Any]:
        files = self.repositories[hub_id]
        return {
            "id": hub_id,
            "modelId": hub_id,
            "sha": COMMIT,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 1,
            "likes": 1,
            "tags": [],
            "siblings": [_sibling(path, content) for path, content in files.items()],
        }

    def tree(self, hub_id: str) -> list[dict[str, Any]]:
        """The same as huggingface_hub's snapshot_download asks for it."""
        entries = []
        for path, content in self.repositories[hub_id].items():
            known = _sibling(path, content)
            entry = {"type": "file", "path": path, "size": known["size"], "oid": known["blobId"]}
            if "lfs" in known:
                entry["lfs"] = {**known["lfs"], "oid": known["lfs"]["sha256"]}
            entries.append(entry)
        return entries


def _mark(path: str, content: bytes) -> str:
    known = _sibling(path, content)
    return str(known["lfs"]["sha256"] if "lfs" in known else known["blobId"])


@lru_cache(maxsize=256)
def _sums(content: bytes) -> tuple[str, str]:
    """Git's SHA-1 of a blob, and the SHA-256."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return blob, hashlib.sha256(content).hexdigest()


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    blob, sha256 = _sums(content)
    entry: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": blob}
    if _is_large(path):
        entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
    return entry


def _is_large(path: str) -> bool:
    return path.endswith(".safetensors")


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve until the block ends; `hub.url` is what HF_ENDPOINT has to be."""
    servers = []
    for by_storage in (False, True):
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, by_storage))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        servers.append(server)
    hub.url, hub.storage_url = (f"http://127.0.0.1:{one.server_address[1]}" for one in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def _handler(hub: Hub, by_storage: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def log_message(self, *args: object) -> None:
            """Not on the tests' standard error."""

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            asked = Asked(
                self.command,
                path,
                self.headers.get("Range"),
                self.headers.get("Authorization"),
                by_storage,
            )
            hub.log.append(asked)
            if hub.hangs_up:
                self.close_connection = True
                return None
            if hub.page:
                return self._send(200, b"<html>log in</html>", {"Content-Type": "text/html"})
            hub_id = "/".join(path.removeprefix("/api/models").split("/")[1:3])
            if hub_id in hub.refused:
                status, code = hub.refused[hub_id]
                return self._send(status, b"{}", {"X-Error-Code": code} if code else {})
            if hub_id not in hub.repositories:
                # As the hub says to those who are not logged in.
                return self._send(401, b'{"error": "Invalid username or password."}', {})
            if path.startswith("/api/models/"):
                known = hub.tree(hub_id) if "/tree/" in path else hub.listing(hub_id)
                body = json.dumps(known).encode()
                return self._send(200, body, {"Content-Type": "application/json"})
            name = path.split("/", 5)[5]
            if name not in hub.repositories[hub_id]:
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            if hub.down is not None and hub.recovers_after != 0:
                if hub.recovers_after is not None:
                    hub.recovers_after -= 1
                return self._send(hub.down, b"", {})
            content = hub.repositories[hub_id][name]
            marks = {"X-Repo-Commit": COMMIT, "ETag": f'"{_mark(name, content)}"'}
            if _is_large(name) and not by_storage:
                marks |= {
                    "Location": hub.storage_url + self.path,
                    "X-Linked-Size": str(len(content)),
                    "X-Linked-ETag": marks["ETag"],
                }
                return self._send(302, b"", marks)
            return self._file(name, hub.spoiled.get(name, content), marks)

        def _file(self, name: str, content: bytes, headers: dict[str, str]) -> None:
            if self.command == "GET":
                hub.before(name)
            start = 0
            if self.headers.get("Range") and hub.knows_ranges:
                start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            body = content[start:]
            cut = hub.cuts.pop(name, None) if self.command == "GET" else None
            if cut is None:
                return self._send(206 if start else 200, body, headers)
            hub.down = hub.then
            self._send(206 if start else 200, body[: cut - start], headers, length=len(body))
            self.close_connection = True

        def _send(
            self, status: int, body: bytes, headers: Mapping[str, str], length: int | None = None
        ) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


@lru_cache(maxsize=64)
def safetensors(size: int, seed: int = 0) -> bytes:
    """A sound safetensors file with one tensor of `size` bytes; no torch needed."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    content = hashlib.shake_256(str(seed).encode()).digest(size)
    return len(header).to_bytes(8, "little") + header.encode() + content


def repository(large: int = 3_000_000, *, encoders: int = 1, unet: int = 0) -> dict[str, bytes]:
    """The files of a version's repository with weights of `large` bytes, and some never fetched.

    The UNet's weights are of `unet` bytes where that is given; those in fp16 are half as large.
    """
    files = {
        "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
        "scheduler/scheduler_config.json": b"{}",
        "README.md": b"# not fetched",
        "safety_checker/model.safetensors": safetensors(1000),
        "unet/diffusion_pytorch_model.bin": b"a pickle",
    }
    parts = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}
    for number in range(encoders):
        suffix = f"_{number + 1}" if number else ""
        parts[f"text_encoder{suffix}"] = "model"
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            files[f"tokenizer{suffix}/{name}"] = b'{"a": 1}'
    for seed, (part, stem) in enumerate(parts.items()):
        files[f"{part}/config.json"] = b"{}"
        size = unet if unet and part == "unet" else large
        files[f"{part}/{stem}.safetensors"] = safetensors(size, seed)
        files[f"{part}/{stem}.fp16.safetensors"] = safetensors(size // 2, seed)
    return files
