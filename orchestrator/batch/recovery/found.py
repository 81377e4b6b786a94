"""The pictures of a batch's folder, and whose each is as far as its graph tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..execution.store.pictures import PARTS, pictures_in
from ..logic.jobs import Artifact, Job, name_in
from .belonging import Shares
from .identity import Jobs
from .placing import Placed
from .recovered import Recovered
from .seen import Seen, look_at

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


class Found:
    """The pictures of a folder, and whose each is as far as its graph tells."""

    def __init__(
        self, folder: Path, jobs: Jobs | None, progress: Progress, *, by_name: bool = False
    ) -> None:
        self._folder, self._jobs, self._by_name = folder, jobs, by_name
        self.links: list[str] = []
        self.seen: list[Seen] = []
        self.owned: list[tuple[Seen, Sequence[Job]]] = []
        # those of which all is said already
        self.known: set[str] = set()
        paths = [*pictures_in(folder, self.links)]
        for one in look_at(folder, paths, lambda done, of: progress("looking", done, of)):
            owners = self._owners(one)
            if owners:
                self.owned.append((replace(one, graph=None), owners))
            self.seen.append(replace(one, graph=None))

    def _owners(self, one: Seen) -> Sequence[Job]:
        if self._jobs is None or one.fault or one.is_derived:
            return ()
        if one.graph is not None:
            return self._jobs.owners(one.graph)
        job = self._jobs.called(_name(one.path)) if self._by_name else None
        return [job] if job else []

    def changed(self, rows: Sequence[Artifact], shares: Shares) -> list[str]:
        """Files where a record has pictures that they are not, and that are no other job's."""
        wanted = {row.path for row in rows} - self.known
        own = {one.seen.path for one in shares.belongings}
        return [one.path for one in self.seen if one.path in wanted - own]

    def in_the_way(self, jobs: Sequence[Job], shares: Shares) -> list[str]:
        """Files under names of jobs to be made that are not theirs: a run would replace them."""
        made = {one.job.key for one in shares.belongings}
        names = {job.name for job in jobs if job.key not in made}
        own = {(one.path, job.name) for one, owners in self.owned for job in owners}
        own |= {(one.seen.path, _name(one.seen.path)) for one in shares.belongings}
        return [
            one.path
            for one in self.seen
            if (name := _name(one.path)) in names
            and (one.path, name) not in own
            and one.path not in self.known
        ]

    def told(
        self,
        shares: Shares,
        placed: Placed,
        *,
        was: str,
        rebuilt: bool,
        dry: bool,
        jobs: int,
        done: int,
        before: str | None = None,
        changed: Sequence[str] = (),
    ) -> Recovered:
        """All of it, for people and programs."""
        said = {one.path for one, _ in self.owned} | self.known | {*changed}
        rest = [
            one
            for one in self.seen
            if one.path not in said and not one.is_derived and not _is_part(one.path)
        ]
        return Recovered(
            folder=self._folder,
            was=was,
            rebuilt=rebuilt,
            dry=dry,
            jobs=jobs,
            done=done,
            looked_at=len(self.seen),
            moved=placed.moved,
            aside=placed.aside,
            copies=_paths(shares.copies),
            unclear=_paths(shares.unclear),
            strangers=_paths(one for one in rest if not one.fault and one.has_graph),
            without_graph=_paths(one for one in rest if not one.fault and not one.has_graph),
            changed=tuple(changed),
            damaged={one.path: one.fault for one in rest if one.fault},
            links=(*self.links, *placed.behind_links),
            incomplete=tuple(job.name for job in shares.incomplete),
            before=before,
        )


def _paths(seen: Iterable[Seen]) -> tuple[str, ...]:
    return tuple(one.path for one in seen)


def _name(path: str) -> str:
    """The name of the job that would have a picture at this path."""
    return name_in(str(PurePosixPath(path).with_suffix("")))


def _is_part(path: str) -> bool:
    return path.startswith(f"{PARTS}/")
