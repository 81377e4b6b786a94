"""The files of a service: what clients upload and what jobs make, each with an owner.

A file is a row: whose it is, its name, until when it stays. Its bytes are a content, which equal
files share, whoever has them; an owner learns nothing of that: only what it has itself is there for
it. A content is removed with its last file.

No upload may take up a content that somebody else is about to remove. So whoever adds or removes a
file holds the row of its content, and the bytes of a folder come and go meanwhile, by a rename. An
upload to a bucket takes too long for that: it notes first that it takes a content up, and what was
taken up within the last hour is not removed.
"""

from __future__ import annotations

import json
import re
import threading
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO
from urllib.parse import quote

import sqlalchemy as sa

from ..batch.execution.store.database import Database
from ..errors import BadValue, HashMismatch, NotFound
from .content_types import MOST_PIXELS, content_type_of, kind_of
from .ranges import ByteRange, range_of
from .storage import Chunks, PendingContent, Storage, checked_hash, chunks_of
from .tables import assets as table
from .tables import contents

# bytes of one file
MOST_BYTES = 1024**3
# of a name in all, and of each part between slashes: what every file system can keep
_LONGEST_NAME, _LONGEST_PART = 1024, 255
_MOST_TAGS, _LONGEST_TAG = 32, 128
# files that one step of `expire` removes
_STEP = 200
# s for which a bucket's content is left alone after it was taken up: more than an upload takes
_LEFT_ALONE = 3600.0
# Pictures that are decoded at one time, in all of the process: each may take 256 MiB.
_DECODING = threading.BoundedSemaphore(2)
# Ids of what jobs make follow from the job and the place, so that a second try makes no second row.
_OUTPUTS = uuid.UUID("6f0d0f0e-53c5-4f2f-9a39-7a8c1f6f4a52")

Source = bytes | BinaryIO | Iterable[bytes] | PendingContent


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file of an owner."""

    # UUID
    id: str
    # id of a key; "" where the service asks for none
    owner: str
    # "blake3:" and 64 hexadecimal digits
    hash: str
    # bytes
    size: int
    # found by looking
    content_type: str
    # as its owner calls it, with "/" between folders
    name: str
    tags: tuple[str, ...] = ()
    # s since the epoch
    created_at: float
    # None: it stays until it is deleted
    expires_at: float | None = None
    # of what a job made
    job_id: str | None = None
    node_id: str | None = None
    # False where its owner had the same bytes already
    created_new: bool = False

    @property
    def kind(self) -> str:
        """What Comfy API v2 calls its type: image, video, audio, text, latent or file."""
        return kind_of(self.content_type, self.name)

    @property
    def etag(self) -> str:
        """The value of the header ETag: the bytes behind an id never change."""
        return f'"{self.hash.partition(":")[2]}"'


@dataclass(frozen=True, kw_only=True)
class Content:
    """The bytes of a file, or a part of them, opened; close `chunks` when done."""

    asset: Asset
    chunks: Chunks
    # None: all of it
    part: ByteRange | None = None

    @property
    def length(self) -> int:
        """Bytes to come."""
        return self.asset.size if self.part is None else self.part.stop - self.part.start

    @property
    def status(self) -> int:
        """The HTTP status of an answer with it."""
        return 200 if self.part is None else 206

    def headers(self) -> dict[str, str]:
        """The headers of an answer with it.

        Nothing that was uploaded is run: a browser believes the type, which is from a short list,
        and opens a page of it in a sandbox without rights.
        """
        shown = self.asset.kind in ("image", "video", "audio")
        headers = {
            "Content-Type": self.asset.content_type,
            "Content-Length": str(self.length),
            "Content-Disposition": disposition(self.asset.name, inline=shown),
            "Accept-Ranges": "bytes",
            "ETag": self.asset.etag,
            "Cache-Control": "private, max-age=3600, immutable",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        if self.part is not None:
            headers["Content-Range"] = self.part.content_range
        return headers


class Assets:
    """The files in a service's database and storage; for any number of threads."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        *,
        most_bytes: int = MOST_BYTES,
        most_pixels: int = MOST_PIXELS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.storage = storage
        self.most_bytes = most_bytes
        self._db = database
        self._most_pixels = most_pixels
        self._clock = clock
        self._upsert_content = database.upsert(contents)
        self._touch_content = database.upsert(contents, fixed=("size", "content_type"))
        self._upsert_asset = database.upsert(table)

    # ----------------------------------------------------------------------- in

    @contextmanager
    def receive(self) -> Iterator[PendingContent]:
        """A part to write an upload on as it comes, of at most `most_bytes`; then `add` takes it.

        What is not added is dropped.
        """
        with self.storage.receive(self.most_bytes) as part:
            yield part

    def add(
        self,
        owner: str,
        file: Source,
        name: str,
        content_type: str = "",
        expected_hash: str | None = None,
        tags: Sequence[str] = (),
        *,
        expires_at: float | None = None,
    ) -> Asset:
        """Keep a file that somebody uploads. `content_type` is what the sender calls it.

        Raises BadValue for a name, a hash or tags that are none, TooLarge, InputError where it is
        called a picture and is no whole one, HashMismatch, and OutputError as for a full disk; then
        nothing is kept.
        """
        name, tags = checked_name(name), checked_tags(tags)
        if expected_hash is not None:
            checked_hash(expected_hash)
        with self._received(file) as part:
            part.finish()
            if expected_hash is not None and part.hash != expected_hash:
                raise HashMismatch(
                    f"what came has the hash {part.hash}, not {expected_hash}; send it again"
                )
            with _DECODING:
                found = content_type_of(
                    part.path, name, content_type, most_pixels=self._most_pixels
                )
            asset = self._asset(owner, part, name, found, expires_at)
            return self._kept(part, replace(asset, tags=tags))

    def add_output(
        self,
        owner: str,
        file: Source,
        name: str,
        content_type: str,
        *,
        job_id: str,
        node_id: str,
        place: int,
        expires_at: float | None = None,
    ) -> Asset:
        """Keep a file that a job made, looked at already; `place` is that among the job's files.

        What an earlier try of the job left at the place is replaced. Inside a transaction of the
        same database it is part of that; the part should be prepared before.
        """
        name = checked_name(name)
        with self._received(file) as part:
            asset = self._asset(owner, part, name, content_type, expires_at)
            id = output_id(job_id, place)
            return self._kept(
                part, replace(asset, id=id, job_id=job_id, node_id=node_id), place=place
            )

    def prepare(self, part: PendingContent) -> None:
        """Do what takes long before the file of a part is added, as inside a transaction."""
        part.finish()
        if part.is_prepared or not self.storage.is_far:
            return
        row = {**_content(part, ""), "touched_at": self._clock()}
        with self._db.transaction() as connection:
            # The type of a content that is there already stays.
            connection.execute(self._touch_content, row)
        self.storage.keep(part)
        part.is_prepared = True

    def from_hash(
        self,
        owner: str,
        hash: str,
        name: str | None = None,
        tags: Sequence[str] = (),
        *,
        expires_at: float | None = None,
    ) -> Asset:
        """One more file of bytes that the owner has; raises NotFound where it has none of them."""
        checked_hash(hash)
        wanted, tags = None if name is None else checked_name(name), checked_tags(tags)
        is_there = self.storage.has(hash)
        with self._db.transaction() as connection:
            self._hold(connection, hash)
            # The owner's own file keeps the content from being removed.
            known = self._first(connection, table.c.hash == hash, owner)
            if known is None or not is_there:
                raise NotFound(f"this key has no file of the hash {hash}; upload it")
            asset = replace(
                known,
                id=str(uuid.uuid4()),
                name=wanted or known.name,
                tags=tags,
                created_at=self._clock(),
                expires_at=expires_at,
                job_id=None,
                node_id=None,
            )
            connection.execute(sa.insert(table), _row(asset, None))
        return asset

    # ---------------------------------------------------------------------- out

    def has_hash(self, owner: str, hash: str) -> bool:
        """Whether the owner has a file of these bytes."""
        checked_hash(hash)
        with self._db.reading() as connection:
            known = self._first(connection, table.c.hash == hash, owner)
        return known is not None and self.storage.has(hash)

    def get(self, owner: str, id: str) -> Asset:
        """A file of the owner; raises NotFound also where it is another's or has expired."""
        with self._db.reading() as connection:
            found = self._first(connection, table.c.id == id, owner)
        if found is None:
            raise NotFound("this key has no file of that id")
        return found

    def of_job(self, job_id: str) -> list[Asset]:
        """The files that a job made, in their order."""
        return self.of_jobs([job_id]).get(job_id, [])

    def of_jobs(self, job_ids: Sequence[str]) -> dict[str, list[Asset]]:
        """The files of several jobs, by job; one without files has no entry."""
        query = (
            _joined()
            .where(table.c.job_id.in_(job_ids), self._stays())
            .order_by(table.c.job_id, table.c.place)
        )
        found: dict[str, list[Asset]] = {}
        with self._db.reading() as connection:
            for row in connection.execute(query):
                found.setdefault(row.job_id, []).append(_asset_of(row))
        return found

    def content(
        self, owner: str, id: str, range_header: str | None = None, if_range: str | None = None
    ) -> Content:
        """The bytes of a file, or what a Range header asks for of them.

        They can be read to their end although the file expires or is deleted meanwhile. Raises
        NotFound and RangeUnsatisfiable.
        """
        asset = self.get(owner, id)
        if if_range is not None and if_range.strip() != asset.etag:
            range_header = None
        part = range_of(range_header, asset.size)
        start, stop = (0, asset.size) if part is None else (part.start, part.stop)
        return Content(asset=asset, chunks=self.storage.open(asset.hash, start, stop), part=part)

    # ------------------------------------------------------------------- removal

    def delete(self, owner: str, id: str) -> None:
        """Remove a file, and its bytes where it was the last that had them; raises NotFound.

        Those of a bucket go within an hour. Not for inside a transaction, as is nothing that
        removes: bytes do not come back.
        """
        asset = self.get(owner, id)
        if not self._remove(asset.hash, [asset.id]):
            raise NotFound("this key has no file of that id")

    def delete_of_job(self, job_id: str) -> int:
        """Remove the files that a job made; returns how many."""
        return self._remove_where(table.c.job_id == job_id)

    def expire(self, now: float | None = None) -> int:
        """Remove the files whose time is over; returns how many. Call it now and then."""
        moment = self._clock() if now is None else now
        count = self._remove_where(table.c.expires_at <= moment)
        # contents that could not be removed with their last file
        left = sa.select(contents.c.hash).where(
            ~sa.exists().where(table.c.hash == contents.c.hash),
            contents.c.touched_at <= self._before(),
        )
        with self._db.reading() as connection:
            unused = connection.execute(left.limit(_STEP)).scalars().all()
        for hash in unused:
            self._remove(hash, [])
        return count

    def tidy(self) -> int:
        """Remove what processes that died left in the storage; returns how many contents."""
        self.storage.clear_parts()
        return sum(self._remove_lost(hash) for hash in self.storage.old())

    # -------------------------------------------------------------------- inside

    @contextmanager
    def _received(self, file: Source) -> Iterator[PendingContent]:
        if isinstance(file, PendingContent):
            yield file
            return
        with self.receive() as part:
            for chunk in chunks_of(file):
                part.write(chunk)
            yield part

    def _asset(
        self,
        owner: str,
        part: PendingContent,
        name: str,
        content_type: str,
        expires_at: float | None,
    ) -> Asset:
        return Asset(
            id=str(uuid.uuid4()),
            owner=owner,
            hash=part.hash,
            size=part.size,
            content_type=content_type,
            name=name,
            created_at=self._clock(),
            expires_at=expires_at,
        )

    def _kept(self, part: PendingContent, asset: Asset, place: int | None = None) -> Asset:
        self.prepare(part)
        content = {**_content(part, asset.content_type), "touched_at": self._clock()}
        with self._db.transaction() as connection:
            self._db.execute(self._upsert_content, content)
            # Of what a job made nobody asks whether it is new.
            known = place is not None or self._first(
                connection, table.c.hash == asset.hash, asset.owner
            )
            self._db.execute(self._upsert_asset, _row(asset, place))
            # Last, as it is not taken back with the rows. What the row had before stays until
            # `expire` comes by: it is needed where the transaction around this one fails.
            if not part.is_prepared:
                self.storage.keep(part)
        return replace(asset, created_new=not known)

    def _first(
        self, connection: sa.Connection, which: sa.ColumnElement[bool], owner: str
    ) -> Asset | None:
        query = _joined().where(which, table.c.owner == owner, self._stays())
        row = connection.execute(query.order_by(table.c.created_at).limit(1)).one_or_none()
        return None if row is None else _asset_of(row)

    def _stays(self) -> sa.ColumnElement[bool]:
        return table.c.expires_at.is_(None) | (table.c.expires_at > self._clock())

    def _remove_where(self, which: sa.ColumnElement[bool]) -> int:
        query = sa.select(table.c.id, table.c.hash).where(which).limit(_STEP)
        count = 0
        while True:
            with self._db.reading() as connection:
                rows = connection.execute(query).all()
            if not rows:
                return count
            by_hash: dict[str, list[str]] = {}
            for row in rows:
                by_hash.setdefault(row.hash, []).append(row.id)
            # one after the other: no two contents are held at once, so nobody waits in a circle
            count += sum(self._remove(hash, ids) for hash, ids in by_hash.items())

    def _remove(self, hash: str, ids: list[str]) -> int:
        """Remove files of a content, and the content where no other file has it."""
        # The rows first: no file is ever without its bytes. What a process that dies between the
        # two leaves is a content without files, which `expire` finds.
        with self._db.transaction() as connection:
            gone = connection.execute(sa.delete(table).where(table.c.id.in_(ids)))
        with self._db.transaction() as connection:
            # A row that is not there holds nobody back: an upload may be about to write it.
            if self._hold(connection, hash):
                self._drop_unused(connection, hash)
        return int(gone.rowcount)

    def _drop_unused(self, connection: sa.Connection, hash: str) -> bool:
        # A statement of its own, after the row is held: PostgreSQL shows it what was committed.
        used = sa.select(
            sa.exists().where(table.c.hash == hash)
            | sa.exists().where(contents.c.hash == hash, contents.c.touched_at > self._before())
        )
        if connection.execute(used).scalar_one() or not self.storage.delete(hash):
            return False
        connection.execute(sa.delete(contents).where(contents.c.hash == hash))
        return True

    def _remove_lost(self, hash: str) -> bool:
        """Remove a content of the storage that no row knows; says whether it was one."""
        row = {"hash": hash, "size": 0, "content_type": "", "touched_at": 0.0}
        with self._db.transaction() as connection:
            # The row that an upload of the same bytes would write: one waits for the other.
            connection.execute(self._db.insert_missing(contents), row)
            ours = sa.select(contents.c.touched_at == 0.0).where(contents.c.hash == hash)
            return bool(connection.execute(ours).scalar_one()) and self._drop_unused(
                connection, hash
            )

    def _before(self) -> float:
        """What was taken up until then may be removed."""
        return self._clock() - (_LEFT_ALONE if self.storage.is_far else 0.0)

    def _hold(self, connection: sa.Connection, hash: str) -> bool:
        """Let nobody else add or remove files of a content until this transaction ends.

        False where there is no such content. SQLite has one writer at a time anyway.
        """
        row = sa.select(contents.c.hash).where(contents.c.hash == hash)
        return connection.execute(row.with_for_update()).first() is not None


def output_id(job_id: str, place: int) -> str:
    """The id of what a job made; `place` is that among the job's files."""
    return str(uuid.uuid5(_OUTPUTS, f"{job_id}/{place}"))


def checked_name(name: str) -> str:
    """A file's name in one spelling, with "/" between folders; raises BadValue.

    Refused are names that leave their folder, and letters that do not show or turn those beside
    them around: they would write into headers and logs, or make a file look like another.
    """
    text = unicodedata.normalize("NFC", name).replace("\\", "/")
    parts = text.split("/")
    if not text or any(part.strip() in ("", ".", "..") for part in parts):
        raise BadValue(f"{_shown(name)} is no name of a file; leave out empty parts, . and ..")
    if re.match("[A-Za-z]:", text):
        raise BadValue(f"{_shown(name)} names a drive; give the name alone")
    if any(unicodedata.category(one)[0] == "C" or one in "\u2028\u2029" for one in text):
        raise BadValue(f"the name {_shown(name)} has letters that do not show; leave them out")
    if len(text.encode()) > _LONGEST_NAME or any(
        len(part.encode()) > _LONGEST_PART for part in parts
    ):
        raise BadValue(f"the name {_shown(name)} is too long; {_LONGEST_PART} bytes are taken")
    return text


def checked_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags of a file; raises BadValue where they are too many, too long or not printable."""
    if len(tags) > _MOST_TAGS:
        raise BadValue(f"a file has {_MOST_TAGS} tags at most, not {len(tags)}")
    for tag in tags:
        if not tag.strip() or len(tag) > _LONGEST_TAG or not tag.isprintable():
            raise BadValue(f"a tag is 1 to {_LONGEST_TAG} printable letters, not {_shown(tag)}")
    return tuple(tags)


def disposition(name: str, *, inline: bool) -> str:
    """The value of the header Content-Disposition (RFC 6266): the name without its folders."""
    last = name.rpartition("/")[2]
    plain = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", last)
    how = "inline" if inline else "attachment"
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(last, safe='')}"


def _joined() -> sa.Select[Any]:
    columns = (contents.c.size, contents.c.content_type)
    return sa.select(table, *columns).join(contents, contents.c.hash == table.c.hash)


def _content(part: PendingContent, content_type: str) -> dict[str, Any]:
    return {"hash": part.hash, "size": part.size, "content_type": content_type}


def _row(asset: Asset, place: int | None) -> dict[str, Any]:
    return {
        "id": asset.id,
        "owner": asset.owner,
        "hash": asset.hash,
        "name": asset.name,
        "tags": json.dumps(asset.tags),
        "created_at": asset.created_at,
        "expires_at": asset.expires_at,
        "job_id": asset.job_id,
        "node_id": asset.node_id,
        "place": place,
    }


def _asset_of(row: Any) -> Asset:
    return Asset(
        id=row.id,
        owner=row.owner,
        hash=row.hash,
        size=row.size,
        content_type=row.content_type,
        name=row.name,
        tags=tuple(json.loads(row.tags)),
        created_at=row.created_at,
        expires_at=row.expires_at,
        job_id=row.job_id,
        node_id=row.node_id,
    )


def _shown(text: str) -> str:
    return ascii(text[:80])
