"""Who has signed in on the page: a session stands for a key, so that no browser keeps a key.

The cookie has 256 random bits, and the record their SHA-256, for the reason that `keys` gives.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

import sqlalchemy as sa

from ..batch.execution.store.database import Database
from .tables import sessions as table

# s that a session lasts at most
LASTS = 7 * 86_400.0


class Sessions:
    """The sessions in a service's database; may be used by several threads."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._db = database
        self._clock = clock

    def begin(self, key_id: str) -> str:
        """Begin one; returns what the cookie says."""
        now = self._clock()
        token = new_token()
        row = {
            "token_sha256": _hashed(token),
            "key_id": key_id,
            "created_at": now,
            "expires_at": now + LASTS,
        }
        with self._db.transaction() as connection:
            connection.execute(table.delete().where(table.c.expires_at <= now))
            connection.execute(table.insert(), row)
        return token

    def key_of(self, token: str) -> str | None:
        """The id of the key that a session stands for; None where there is no such session."""
        query = sa.select(table.c.key_id).where(
            table.c.token_sha256 == _hashed(token), table.c.expires_at > self._clock()
        )
        with self._db.reading() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def end(self, token: str) -> None:
        """End one."""
        with self._db.transaction() as connection:
            connection.execute(table.delete().where(table.c.token_sha256 == _hashed(token)))


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def proof_of(token: str) -> str:
    """What a form carries to show that it comes from a page that this browser was given.

    Another site can make a browser send the cookie, and cannot read it or the page.
    """
    return hmac.new(token.encode(), b"spriteworks form", hashlib.sha256).hexdigest()


def proves(proof: str, token: str) -> bool:
    """Whether a form's proof is that of a cookie."""
    return hmac.compare_digest(proof.encode("utf-8", "replace"), proof_of(token).encode())


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()
