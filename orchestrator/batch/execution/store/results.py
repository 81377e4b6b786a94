"""What came of attempts: pictures, and how long each part took."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from ...logic.gates import DUPLICATE, GRAPH
from ...logic.jobs import Artifact, Outcome, State, Timing
from . import statements, tables
from .attempts import Attempts
from .database import Database
from .rows import (
    artifact_of,
    artifact_row,
    gates_text,
)

# The latest attempts that an estimate looks at.
_RECENT = 500


class Results(Attempts):
    """The pictures of a record, and its timings."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._new_artifact = database.upsert(tables.artifacts)

    def record_artifact(self, artifact: Artifact, *, judged: bool = True) -> None:
        """Note a picture that is complete in the folder, in place of any at that path.

        Where it was not `judged`, its job's gates are asked later, see `unjudged`.

        Where names were exchanged between jobs, that may have been another job's, which is then
        made again. Pictures of the same job from earlier attempts are of the past: it may have had
        more of them, or in another format.
        """
        with self._db.transaction():
            where = {"path": artifact.path, "of": artifact.key}
            displaced = [row[0] for row in self._db.execute(statements.DISPLACED, where).fetchall()]
            self.remake(displaced, f"{artifact.path} is now another job's picture")
            if artifact.attempt_id is not None:
                latest = {"of": artifact.key, "attempt": artifact.attempt_id}
                self._db.execute(statements.FORGET_OTHERS, latest)
            gates = self._db.execute(statements.GATES_OF_JOB, {"of": artifact.key}).fetchone()[0]
            # Equal to the gates of no job but one that has none.
            gates = gates if judged or gates == gates_text(()) else ""
            self._db.execute(self._new_artifact, {**artifact_row(artifact), "gates": gates})

    def artifacts(self, key: str | None = None) -> list[Artifact]:
        """The pictures of a job, or of all that are done, by path."""
        table = tables.artifacts
        if key is None:
            return self._artifacts(sa.true())
        return [artifact_of(row) for row in self._read(sa.select(table).where(table.c.key == key))]

    def _artifacts(self, which: sa.ColumnElement[bool]) -> list[Artifact]:
        """The pictures of jobs that are done, of which `which` is true."""
        table = tables.artifacts
        done = sa.select(tables.jobs.c.key).where(tables.jobs.c.state == State.DONE.value)
        query = sa.select(table).where(table.c.key.in_(done), which)
        return [artifact_of(row) for row in self._read(query)]

    def compares_pictures(self) -> bool:
        """Say whether a job that is wanted has the gate that looks for its picture among others."""
        table = tables.jobs
        minds = table.c.gates.like(f'%"{DUPLICATE}"%') & (table.c.state != State.UNWANTED.value)
        return bool(self._read(sa.select(table.c.key).where(minds).limit(1)))

    def unhashed(self) -> list[Artifact]:
        """The pictures of jobs that are done whose pixels nobody has looked at."""
        return self._artifacts(tables.artifacts.c.pixels_sha256 == "")

    def alike(self) -> list[tuple[str, str]]:
        """(key, pixels) of pictures that look just like another job's, in the manifest's order.

        All of them are done, so the order in which servers answer decides nothing. Ask when
        nothing is running, and when none is `unhashed`.
        """
        pictures, job = tables.artifacts, tables.jobs
        done = (
            sa.select(job.c.key, job.c.place, pictures.c.pixels_sha256)
            .join(pictures, pictures.c.key == job.c.key)
            .where(job.c.state == State.DONE.value, pictures.c.pixels_sha256 != "")
            .distinct()
            .subquery()
        )
        shared = (
            sa.select(done.c.pixels_sha256)
            .group_by(done.c.pixels_sha256)
            .having(sa.func.count() > 1)
        )
        query = (
            sa.select(done.c.key, done.c.pixels_sha256)
            .where(done.c.pixels_sha256.in_(shared))
            .order_by(done.c.place, done.c.key, done.c.pixels_sha256)
        )
        return [(row.key, row.pixels_sha256) for row in self._read(query)]

    def without_graph(self) -> int:
        """How many pictures of jobs that are done do not carry the graph that was sent for them."""
        noted = tables.artifacts.c.measured.like(f'%"{GRAPH}":0.0%')
        return len(self._artifacts(noted))

    def unjudged(self) -> list[str]:
        """The keys of jobs that are done, and whose gates have not judged their pictures yet."""
        pictures, job = tables.artifacts, tables.jobs
        query = (
            sa.select(job.c.key)
            .join(pictures, pictures.c.key == job.c.key)
            .where(job.c.state == State.DONE.value, job.c.gates != pictures.c.gates)
            .order_by(job.c.place)
        )
        return [row.key for row in self._read(query)]

    def record_timings(self, attempt_id: int, spans: Iterable[Timing]) -> None:
        rows = [
            {
                "attempt_id": attempt_id,
                "span": timing.span,
                "node_class": timing.node_class,
                "seconds": timing.seconds,
            }
            for timing in spans
        ]
        if rows:
            with self._db.transaction():
                self._db.execute(statements.NEW_TIMING, rows)

    def paces(self) -> dict[str, list[float]]:
        """For each server, s a picture in its latest attempts that gave pictures, newest first."""
        table = tables.attempts
        query = (
            sa.select(table.c.server, table.c.seconds, table.c.size)
            .where(table.c.outcome == Outcome.DONE.value, table.c.seconds.is_not(None))
            .order_by(table.c.id.desc())
            .limit(_RECENT)
        )
        found: dict[str, list[float]] = {}
        for row in self._read(query):
            found.setdefault(row.server, []).append(row.seconds / row.size)
        return found
