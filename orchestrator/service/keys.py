"""API keys: made, listed, revoked, and checked at every request.

A key is `sw_ID_SECRET`: the id stands in lists and logs, the secret is 256 random bits. Only the
SHA-256 of the whole is kept. A slow hash (bcrypt, Argon2) protects what people think up and can be
guessed; 256 random bits cannot be guessed however fast the hash is, and a slow one would let
anybody keep the service busy with wrong keys.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..batch.execution.store.database import Database
from ..errors import AccessDenied, BadValue, NotFound
from . import tables
from .limits import Limits

PREFIX = "sw"
# s for which what the database said is taken to hold: within it a revocation is seen
FRESH = 1.0
# s between two notes that a key was used
_NOTED = 60.0
_LONGEST_NAME = 200
# characters of anything that could be a key
_LONGEST = 256
# compared with where no key has the id, so that the answer takes as long
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key without its secret."""

    # what it owns is kept under this
    id: str
    # what it is for, in words
    name: str
    limits: Limits
    # s since the epoch
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    # to the minute
    used_at: float | None = None

    def counts(self, now: float) -> bool:
        """Whether it opens anything at a moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "limits": self.limits.to_json(),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
            "used_at": self.used_at,
        }


class Keys:
    """The keys in a service's database, and a copy of them in memory that is `FRESH` s old at most.

    Several processes may share the database: `spriteworks keys revoke` works on a running service.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        *,
        fresh: float = FRESH,
    ) -> None:
        self._db = database
        self._clock = clock
        self._for = fresh
        self._lock = threading.Lock()
        self._copy: Mapping[str, tuple[Key, str]] = {}
        self._copied_at = -float("inf")
        # when this process last noted the use of a key
        self._noted: dict[str, float] = {}

    # ---------------------------------------------------------------- what people do

    def create(
        self, name: str, limits: Limits | None = None, *, expires_at: float | None = None
    ) -> tuple[Key, str]:
        """Make a key; returns it and the text to give away, which is nowhere to be had again.

        Without `limits` it has none; `expires_at` is s since the epoch. Raises BadValue for a name
        that is empty, too long or not printable, and for a moment that is past.
        """
        now = self._clock()
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise BadValue(f"a key needs a name of 1 to {_LONGEST_NAME} printable letters")
        if expires_at is not None and expires_at <= now:
            raise BadValue("a key cannot expire in the past")
        key = Key(
            id=secrets.token_hex(6),
            name=name.strip(),
            limits=limits or Limits(),
            created_at=now,
            expires_at=expires_at,
        )
        random = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii").rstrip("=")
        secret = f"{PREFIX}_{key.id}_{random}"
        row = {**key.to_json(), "secret_sha256": _hashed(secret)}
        row["limits"] = json.dumps(key.limits.to_json())
        with self._db.transaction() as connection:
            connection.execute(sa.insert(tables.keys), row)
        self._forget()
        return key, secret

    def list(self) -> list[Key]:
        """All keys there ever were, oldest first."""
        return [key for key, _ in self._read().values()]

    def revoke(self, id: str) -> Key:
        """Let a key open nothing from now on; what it owns stays. Raises NotFound."""
        table = tables.keys
        change = (
            sa.update(table)
            .where(table.c.id == id, table.c.revoked_at.is_(None))
            .values(revoked_at=self._clock())
        )
        with self._db.transaction() as connection:
            connection.execute(change)
        self._forget()
        found = self._read().get(id)
        if found is None:
            raise NotFound(f"there is no key {_shown(id)}; `spriteworks keys list` shows them")
        return found[0]

    def any(self) -> bool:
        """Whether a key counts."""
        now = self._clock()
        return any(key.counts(now) for key, _ in self._fresh().values())

    # -------------------------------------------------------------- what requests do

    def check(self, secret: str) -> Key:
        """The key of a secret; raises AccessDenied. It may read the database."""
        return self._opened(secret, self._fresh())

    def of(self, id: str) -> Key:
        """A key that was checked before, by its id; raises AccessDenied where it opens no more."""
        key, _ = self._fresh().get(id, (None, ""))
        if key is None or not key.counts(self._clock()):
            raise AccessDenied("the key of this session was revoked or has expired")
        return key

    async def admit(self, secret: str) -> Key:
        """`check` for the event loop, which never waits for the database."""
        if self._is_stale():
            await asyncio.to_thread(self._fresh)
        return self._opened(secret, self._copy)

    def note_use(self) -> None:
        """Write down when keys were used that were since the last call; call it now and then."""
        with self._lock:
            noted, self._noted = self._noted, {}
        if not noted:
            return
        table = tables.keys
        change = (
            sa.update(table)
            .where(table.c.id == sa.bindparam("of"))
            .values(used_at=sa.bindparam("at"))
        )
        with self._db.transaction() as connection:
            connection.execute(change, [{"of": id, "at": at} for id, at in noted.items()])

    # ------------------------------------------------------------------------ inside

    def _opened(self, secret: str, keys: Mapping[str, tuple[Key, str]]) -> Key:
        prefix, _, rest = secret[:_LONGEST].partition("_")
        id, _, _ = rest.partition("_")
        key, expected = keys.get(id, (None, _NOBODY))
        # Always both, and in constant time: how long it takes says nothing about what was wrong.
        same = hmac.compare_digest(_hashed(secret[: _LONGEST + 1]), expected)
        now = self._clock()
        if key is None or not same or prefix != PREFIX or not key.counts(now):
            raise AccessDenied(
                "that key opens nothing; give one that `spriteworks keys create` made, and that "
                "neither was revoked nor has expired"
            )
        if now - self._noted.get(key.id, key.used_at or 0.0) >= _NOTED:
            with self._lock:
                self._noted[key.id] = now
        return key

    def _is_stale(self) -> bool:
        return time.monotonic() - self._copied_at >= self._for

    def _fresh(self) -> Mapping[str, tuple[Key, str]]:
        if self._is_stale():
            # The moment before the question: what is written meanwhile is asked for again.
            asked = time.monotonic()
            self._copy, self._copied_at = self._read(), asked
        return self._copy

    def _forget(self) -> None:
        self._copied_at = -float("inf")

    def _read(self) -> dict[str, tuple[Key, str]]:
        query = sa.select(tables.keys).order_by(tables.keys.c.created_at, tables.keys.c.id)
        with self._db.reading() as connection:
            rows = connection.execute(query).all()
        return {row.id: (_key_of(row), row.secret_sha256) for row in rows}


def id_in(text: str) -> str:
    """The id of a key, from the id itself or from the whole key."""
    prefix, _, rest = text.strip().partition("_")
    return rest.partition("_")[0] if prefix == PREFIX and rest else text.strip()


def _key_of(row: Any) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        limits=Limits.of(json.loads(row.limits)),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
    )


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).hexdigest()


def _shown(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text[:40])
