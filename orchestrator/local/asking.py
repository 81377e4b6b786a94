"""What a command asks a kept engine: to be let in, how it is, and to end."""

from __future__ import annotations

import http.client
import json
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from ..client.logins import bearer, known
from .kept import ATTACH, Note

# s that a kept engine has to answer; one that runs a step on all cores takes a while
_ANSWER = 10.0


def attached(stack: ExitStack, note: Note, keep: float | None) -> dict[str, Any] | None:
    """Be counted as its user until the stack closes; None where it takes nobody, or is silent."""
    query = "" if keep is None else f"?keep={keep!r}"
    with ExitStack() as inside:
        inside.enter_context(known(note.url, note.token))
        connection = _connection(note)
        inside.callback(connection.close)
        try:
            connection.request("GET", f"{ATTACH}{query}", headers=bearer(note.token))
            answer = connection.getresponse()
            told = json.loads(answer.readline()) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        if not isinstance(told, dict):
            return None
        # The answer holds the connection open, too.
        inside.callback(answer.close)
        stack.enter_context(inside.pop_all())
        return told


def ask(note: Note, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    """The status and the object of an answer; 0 and {} where there is none."""
    connection = _connection(note)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, bearer(note.token))
        answer = connection.getresponse()
        told = json.loads(answer.read())
        return answer.status, told if isinstance(told, dict) else {}
    except (OSError, http.client.HTTPException, ValueError):
        return 0, {}
    finally:
        connection.close()


def _connection(note: Note) -> http.client.HTTPConnection:
    address = urlsplit(note.url)
    return http.client.HTTPConnection(str(address.hostname), address.port, timeout=_ANSWER)
