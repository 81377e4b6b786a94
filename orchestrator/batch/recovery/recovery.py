"""`batch recover`: makes the record and the pictures of a batch's folder agree again.

A record that cannot be used is rebuilt: the manifest is planned as `run` plans it, and every
picture in the folder that carries the graph of a job counts as that job's. It is made beside the
old one, which is kept, and takes its place at the end. A record that is whole stays; then only
pictures that lie under other names than the record says get theirs back.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from ...client.client import writing
from ...errors import GraphError, UsageError
from ...local.serving import Choice
from ...workflow.catalogue import Catalogue
from ...workflow.document import Document
from ..execution import plan as planned
from ..execution.fleet import Care, fleet
from ..execution.manifest_files import ManifestFile
from ..execution.store import kept_plan, tables
from ..execution.store.condition import UNREADABLE, Condition, examine, reading, set_aside
from ..execution.store.database import sqlite_url
from ..execution.store.folder_lock import held
from ..execution.store.place import FILE_NAME, POINTER
from ..execution.store.rows import artifact_of
from ..execution.store.soundness import fault_in
from ..execution.store.store import Store
from ..logic.gates import GRAPH
from ..logic.jobs import Artifact, Job, State
from ..logic.planning import Planner
from ..production import first_planner, loaded, planner_for
from .belonging import Belonging, Shares, share_out
from .found import Found, Progress
from .identity import Jobs
from .placing import Placed, place
from .recovered import Recovered
from .seen import Seen

# The record while it is rebuilt.
_NEW = f".{FILE_NAME}.new"
# Rows that are written at once.
_CHUNK = 2000


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person wants of a recovery."""

    # None is the one that the batch was planned from last
    manifest: Path | None = None
    # servers to ask for their nodes; None is what they were when the batch was planned
    choice: Choice | None = None
    # what is chosen where the folder does not say which nodes there were
    otherwise: Choice = field(default_factory=Choice)
    # rebuild a record that is whole
    force: bool = False
    # count pictures that carry no graph as those of the jobs whose names they have
    by_name: bool = False
    # touch nothing
    dry: bool = False


def recover(folder: Path, wish: Wish, progress: Progress) -> Recovered:
    """Make the record of a batch's folder agree with its pictures.

    Raises BatchBusy while a run is at work, UsageError where the folder is none or its manifest is
    not known, ManifestError, and OutputError where something cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give that of a batch")
    with held(folder):
        if (folder / POINTER).exists():
            if wish.force:
                raise UsageError(
                    f"the record of {folder} is in a database that {POINTER} names, and is not "
                    "rebuilt there; bring it back from a backup, or move that file away to have "
                    "the record in the folder"
                )
            return _mended(folder, wish, progress)
        was = fault_in(folder)
        is_new = examine(folder).condition is Condition.NEW
        if was or wish.force or (is_new and wish.manifest):
            return _rebuilt(folder, wish, was or ("is new" if is_new else ""), progress)
        if is_new:
            raise UsageError(
                f"there is nothing to recover in {folder}: no record, and no pictures that a batch "
                "is known to have made; give its manifest with --manifest FILE"
            )
        return _mended(folder, wish, progress)


# ---------------------------------------------------------------------------- rebuilt


def _rebuilt(folder: Path, wish: Wish, was: str, progress: Progress) -> Recovered:
    kept = kept_plan.kept(folder)
    manifest = _manifest(folder, wish, kept)
    file, document = loaded(manifest)
    with _new_record(folder) as store:
        info, planner = _planner(file, document, wish, kept, store)
        progress("planning", 0, 1)
        planned.plan(file, planner, store)
        jobs = [entry.job for entry in store.entries()]
        found = Found(folder, Jobs(jobs, planner.graph, info), progress, by_name=wish.by_name)
        shares = share_out(found.owned, _told_still(folder))
        way = found.in_the_way(jobs, shares)
        placed = place(folder, _moves(shares), way, dry=wish.dry)
        counted = [one for one in shares.belongings if one.seen.path not in placed.behind_links]
        before = None
        if not wish.dry:
            _write_down(store, counted, progress)
    if wish.dry:
        _remove(folder / _NEW)
    else:
        before = _exchange(folder)
        kept_plan.keep(folder, manifest, info)
    done = {one.job.key for one in counted}
    return found.told(
        shares,
        placed,
        was=was,
        rebuilt=True,
        dry=wish.dry,
        jobs=len(jobs),
        done=len(done),
        before=before,
    )


def _manifest(folder: Path, wish: Wish, kept: kept_plan.KeptPlan | None) -> Path:
    if wish.manifest is not None:
        return wish.manifest
    if kept is not None and kept.manifest.is_file():
        return kept.manifest
    if kept is None:
        raise UsageError(f"the manifest of {folder} is not known; give it with --manifest FILE")
    raise UsageError(
        f"the manifest of {folder} was {kept.manifest}, which is gone; give it with --manifest FILE"
    )


@contextmanager
def _new_record(folder: Path) -> Iterator[Store]:
    """An empty record beside the old one; gone again where the block raises."""
    path = folder / _NEW
    with writing(path):
        # what a recovery that was killed left
        _remove(path)
    try:
        with Store.at(sqlite_url(path)) as store:
            yield store
    except BaseException:
        _remove(path)
        raise


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)


def _planner(
    file: ManifestFile,
    document: Document,
    wish: Wish,
    kept: kept_plan.KeptPlan | None,
    store: Store,
) -> tuple[Catalogue, Planner]:
    """The planner of a manifest with the nodes that there were, or that servers have."""

    def planner_on(info: Catalogue) -> Planner:
        return planner_for(file.workflow, info, file.sources, document)

    if wish.choice is None and kept is not None:
        return kept.catalogue, planner_on(kept.catalogue)
    servers = fleet(wish.choice or wish.otherwise, Care(), store)
    try:
        return first_planner(servers, planner_on)
    finally:
        for server in servers:
            server.stop()


def _told_still(folder: Path) -> dict[str, list[str]]:
    """{SHA-256 of files: their paths}, as far as a damaged record can still be read.

    A file that has such a hash proves what is said of it.
    """
    found: dict[str, list[str]] = defaultdict(list)
    try:
        with reading(folder / FILE_NAME) as connection:
            for path, sha256 in connection.execute("SELECT path, sha256 FROM artifacts"):
                found[str(sha256)].append(str(path))
    except UNREADABLE:
        # What was read until then is true.
        return found
    return found


def _write_down(store: Store, counted: Sequence[Belonging], progress: Progress) -> None:
    """Note pictures that count, and that their jobs are done."""
    with store.transaction():
        for number, one in enumerate(counted):
            if number % _CHUNK == 0:
                progress("writing", number, len(counted))
            store.record_artifact(_artifact(one), judged=False)
        jobs = {one.job.key: one.job for one in counted}
        store.move([*jobs], State.DONE)
        for job in jobs.values():
            for _ in range(job.roll):
                store.roll(job.key)
        store.log(f"{len(counted)} pictures of {len(jobs)} jobs were found in the folder")


def _artifact(one: Belonging) -> Artifact:
    seen = one.seen
    return Artifact(
        key=one.job.key,
        path=one.path,
        sha256=seen.sha256,
        pixels_sha256="",
        bytes=seen.bytes,
        mtime_ns=seen.mtime_ns,
        width=seen.width,
        height=seen.height,
        seed=one.job.seed_now,
        measured={} if seen.has_graph else {GRAPH: 0.0},
    )


def _exchange(folder: Path) -> str | None:
    """Put the new record in the old one's place; returns where that lies now."""
    path = folder / FILE_NAME
    with writing(path):
        before = set_aside(path)
        os.replace(folder / _NEW, path)
    return before.name if before else None


# ----------------------------------------------------------------------------- mended


def _mended(folder: Path, wish: Wish, progress: Progress) -> Recovered:
    """Give pictures back the names that a whole record says, and count those it does not know."""
    with Store.open(folder, create=False) as store:
        entries = {entry.job.key: entry for entry in store.entries()}
        waiting = [one.job for one in entries.values() if one.state is State.PENDING]
        found = Found(
            folder, _jobs_by_record(folder, store, waiting), progress, by_name=wish.by_name
        )
        rows = [artifact_of(row) for row in store.rows(sa.select(tables.artifacts))]
        moves, found.known = _by_record(found.seen, rows)
        shares = share_out([one for one in found.owned if one[0].path not in found.known])
        changed = found.changed(rows, shares)
        placed = place(
            folder,
            {**moves, **_moves(shares)},
            [*changed, *found.in_the_way(waiting, shares)],
            dry=wish.dry,
        )
        counted = [one for one in shares.belongings if one.seen.path not in placed.behind_links]
        if counted and not wish.dry:
            _write_down(store, counted, progress)
        jobs = [one for one in entries.values() if one.state is not State.UNWANTED]
        there = {row.key for row in rows if _is_there(folder, row, placed)}
        done = {one.job.key for one in jobs if one.state is State.DONE and one.job.key in there}
        done |= {one.job.key for one in counted}
    return found.told(
        shares,
        placed,
        was="",
        rebuilt=False,
        dry=wish.dry,
        jobs=len(jobs),
        done=len(done),
        changed=changed,
    )


def _is_there(folder: Path, row: Artifact, placed: Placed) -> bool:
    """Whether the picture of a row lies where it belongs, or would."""
    return row.path in placed.moved.values() or (
        row.path not in placed.aside and os.path.exists(folder / row.path)
    )


def _jobs_by_record(folder: Path, store: Store, waiting: Sequence[Job]) -> Jobs | None:
    """The jobs that wait, by their graphs; None where nobody knows the nodes of those."""
    known, kept = planned.recall(store), kept_plan.kept(folder)
    if known is None or kept is None:
        return None
    try:
        planner = planner_for(known.workflow, kept.catalogue)
        return Jobs(waiting, planner.graph, kept.catalogue)
    except (UsageError, GraphError):
        # The workflow's file is gone, or another one by now.
        return None


def _by_record(seen: Sequence[Seen], rows: Sequence[Artifact]) -> tuple[dict[str, str], set[str]]:
    """Where pictures belong that lie elsewhere, by their hashes; and all that the record knows."""
    hashes = {one.path: one.sha256 for one in seen}
    there = {row.path for row in rows if hashes.get(row.path) == row.sha256}
    missing: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.path not in there:
            missing[row.sha256].append(row.path)
    moves: dict[str, str] = {}
    for one in seen:
        if one.path not in there and missing[one.sha256]:
            moves[one.path] = missing[one.sha256].pop(0)
    return moves, there | {*moves}


def _moves(shares: Shares) -> dict[str, str]:
    return {one.seen.path: one.path for one in shares.belongings if one.seen.path != one.path}
