"""What a service talks to: its database, its files, its broker, servers."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from ..batch.execution.store import upgrading
from ..batch.execution.store.database import Database, sqlite_file
from ..batch.execution.store.tables import VERSION
from ..client.client import Client
from ..errors import SpriteworksError
from .findings import Finding, FindingState

# s that a server or a broker has for its first answer
_PATIENCE = 10.0
# what Redis answers to a PING, or says where it wants a password first
# (redis.io/docs/latest/develop/reference/protocol-spec)
_PONG = (b"+PONG", b"-NOAUTH", b"-WRONGPASS", b"-DENIED")


def database(url: str) -> Finding:
    """Whether a database can be used, and of which version its record is."""
    name = "database"
    try:
        path = sqlite_file(url)
        if path is not None and not path.is_file():
            text = f"{path} is not there yet; the service makes it when it starts"
            return Finding(name=name, state=FindingState.FINE, text=text)
        with closing(Database(url)) as opened, opened.reading() as connection:
            version = upgrading.version_of(connection)
            place = opened.name
    except SpriteworksError as error:
        remedy = "start it, or give another address"
        return Finding(name=name, state=FindingState.MISSING, text=str(error), remedy=remedy)
    if version > VERSION:
        return Finding(
            name=name,
            state=FindingState.MISSING,
            text=f"{place} has a record of version {version}, and this is {VERSION}",
            remedy="install the version of Spriteworks that made it, or a later one",
        )
    words = "empty" if not version else f"a record of version {version}"
    if 0 < version < VERSION:
        words += f", which `spriteworks migrate` brings to {VERSION}"
    return Finding(name=name, state=FindingState.FINE, text=f"{place} answers: {words}")


def storage(url: str) -> Finding:
    """Whether files can be kept there; makes no folder."""
    from ..service.storage import Storage

    name, folder = "storage", Path(url)
    if "://" not in url and not folder.is_dir():
        there = next(one for one in folder.absolute().parents if one.exists())
        if os.access(there, os.W_OK):
            return Finding(name=name, state=FindingState.FINE, text=f"{url} can be made")
        remedy = f"make {url} for the user who serves, or give another place"
        return Finding(
            name=name, state=FindingState.MISSING, text=f"{there} cannot be written", remedy=remedy
        )
    try:
        kept = Storage(url)
        stored = kept.put(b"spriteworks doctor")
        kept.delete(stored.hash)
    except SpriteworksError as error:
        return Finding(name=name, state=FindingState.MISSING, text=str(error))
    return Finding(name=name, state=FindingState.FINE, text=f"{url} can be written and read")


def broker(url: str) -> Finding:
    """Whether a broker answers, by the least that Redis' protocol has."""
    name, parts = "broker", urlsplit(url)
    if parts.scheme not in ("redis", "rediss"):
        text = f"{parts.scheme or url} is no broker that is known here"
        return Finding(
            name=name, state=FindingState.MISSING, text=text, remedy="give redis://HOST:PORT"
        )
    place = (parts.hostname or "127.0.0.1", parts.port or 6379)
    try:
        with socket.create_connection(place, timeout=_PATIENCE) as connection:
            if parts.scheme == "rediss":
                text = f"{place[0]}:{place[1]} listens"
                return Finding(name=name, state=FindingState.FINE, text=text)
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except OSError as error:
        return Finding(
            name=name,
            state=FindingState.MISSING,
            text=f"{place[0]}:{place[1]} does not answer ({error.strerror or error})",
            remedy="start Redis there, or give another address",
        )
    if not answer.startswith(_PONG):
        text = f"what listens at {place[0]}:{place[1]} is no Redis"
        return Finding(name=name, state=FindingState.MISSING, text=text)
    return Finding(
        name=name, state=FindingState.FINE, text=f"Redis at {place[0]}:{place[1]} answers"
    )


def server(url: str) -> Finding:
    """Whether a ComfyUI or an engine answers."""
    try:
        with Client(url) as client, client.at_most(_PATIENCE):
            stats = client.system_stats()
    except SpriteworksError as error:
        return Finding(name=f"server {url}", state=FindingState.MISSING, text=str(error))
    kind = "the engine" if stats.is_engine else "ComfyUI"
    return Finding(
        name=f"server {url}",
        state=FindingState.FINE,
        text=f"{kind} {stats.version} on {stats.device}",
    )
