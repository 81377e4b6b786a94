"""What a recovery found and did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...workflow.wording import listed


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What a recovery found and did; with `dry` what it would do. Paths are in the folder."""

    folder: Path
    # what the record was like, as a predicate; "" for one that was whole
    was: str
    # whether the record was made anew
    rebuilt: bool
    dry: bool = False
    # pictures that are wanted, and those of them that are there now
    jobs: int = 0
    done: int = 0
    # files that were looked at
    looked_at: int = 0
    # from where to where: to the names that they should have, and out of their way
    moved: Mapping[str, str] = field(default_factory=dict)
    aside: Mapping[str, str] = field(default_factory=dict)
    # further pictures of jobs that have theirs
    copies: Sequence[str] = ()
    # of one graph that made several, and nothing says which one each is
    unclear: Sequence[str] = ()
    # whole, and with a graph that is no job's of the manifest
    strangers: Sequence[str] = ()
    # whole, and with no graph
    without_graph: Sequence[str] = ()
    # other bytes than the record, which is whole, says of them
    changed: Sequence[str] = ()
    # {path: why it is no picture that counts}
    damaged: Mapping[str, str] = field(default_factory=dict)
    # links, and pictures whose place lies behind one
    links: Sequence[str] = ()
    # names of jobs of which only some pictures are there
    incomplete: Sequence[str] = ()
    # where the record lies that was there before
    before: str | None = None

    @property
    def is_needless(self) -> bool:
        """True where the record was whole and its pictures where they should be."""
        return not (self.rebuilt or self.moved or self.aside)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        found = {**asdict(self), "folder": str(self.folder)}
        return {name: [*one] if isinstance(one, tuple) else one for name, one in found.items()}

    def sentences(self) -> Iterator[tuple[str, bool]]:
        """What is to be said, and whether a person should look at it."""
        if self.is_needless:
            yield f"the record of {self.folder} is whole; there is nothing to recover", False
        elif self.rebuilt:
            yield from self._of_the_record()
        yield from self._of_pictures()
        left = self.jobs - self.done
        if not self.is_needless:
            makes = f"; the next run makes the other {left}" if left else ""
            yield f"{self.done} of {self.jobs} pictures are there{makes}", False

    def _of_the_record(self) -> Iterator[tuple[str, bool]]:
        verb = "would be" if self.dry else "is"
        before = self.was or "was whole"
        yield f"the record of {self.folder} {before}; it {verb} rebuilt from the pictures", False
        lost = "attempts, timings, failures, what was cancelled, and the log"
        yield f"what only the record knew is lost: {lost}", True
        if self.before:
            yield f"what was there before is kept as {self.before}", False

    def _of_pictures(self) -> Iterator[tuple[str, bool]]:
        would = "would be " if self.dry else ""
        renamed = [f"{source} is {target}" for source, target in self.moved.items()]
        aside = [f"{source} is now {target}" for source, target in self.aside.items()]
        faults = [f"{path}: {why}" for path, why in self.damaged.items()]
        for words, found in (
            (f"pictures {would}given the names of their jobs", renamed),
            (f"files {would}set aside, as a picture belongs where they lay", aside),
            ("files that are no whole pictures, and do not count", faults),
            ("further pictures of jobs that have theirs; they do not count", self.copies),
            ("pictures of graphs that made several, not told apart by names", self.unclear),
            ("pictures of no job of the manifest; they stay and do not count", self.strangers),
            ("pictures without a graph; nobody knows whose they are", self.without_graph),
            ("files that are not what the record says of them", self.changed),
            ("links, which are not followed", self.links),
            ("jobs of which a picture is missing; they are made again", self.incomplete),
        ):
            if found:
                yield f"{words} ({len(found)}): {listed(list(found))}", True
