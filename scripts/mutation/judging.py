"""Tries mutants, several at a time, until all are tried or the time is up."""

from __future__ import annotations

import itertools
import json
import queue
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.mutation.covering import Covering, MutationFailed, covering, digest
from scripts.mutation.drawing import draw
from scripts.mutation.mutants import Mutant
from scripts.mutation.results import (
    WANTED,
    Equivalents,
    MutantFate,
    MutantRecord,
    MutantResult,
    MutationReport,
)
from scripts.mutation.targets import ROOT, TARGETS, MutationTarget, chosen
from scripts.mutation.trying import STOPPED, Copy, Observed

PROCESSES = 2
CACHE = ROOT / "build" / "mutants"
# A mutant may take this many times as long as its tests take without it, and that at least in s.
PATIENCE, SHORTEST = 3, 15.0
# times that a limit is raised for a machine that got slower
RAISES = 2


def judge(*, seed: int, count: int, seconds: float, only: str | None, as_json: bool) -> int:
    """Do what scripts/mutate says, and return its exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        mutants = list(itertools.islice(draw(chosen(only), seed), count))
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="spriteworks-mutants-") as name:
            session = MutationSession(Path(name), MutantRecord(CACHE / "results.jsonl"), seconds)
            tried = session.try_all(mutants)
    except KeyboardInterrupt:
        print("mutate: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (MutationFailed, LookupError) as error:
        print(f"mutate: {error}", file=sys.stderr)
        return 2
    report = MutationReport(len(mutants), tried, Equivalents())
    print(json.dumps(report.as_json(), indent=2) if as_json else report.as_text())
    if len(tried) < len(mutants):
        left = len(mutants) - len(tried)
        print(f"Time is up, {left} are left; the same command goes on from here.", file=sys.stderr)
        return 3
    return 0 if report.share >= WANTED else 1


class MutationSession:
    """One call: copies of the tree, what coverage said of them, and the time that is left."""

    def __init__(self, folder: Path, record: MutantRecord, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._record = record
        self._lock = threading.Lock()
        self._coverings: dict[MutationTarget, Covering] = {}
        self._covers = {target: threading.Lock() for target in TARGETS}
        self._digests: dict[tuple[str, ...], str] = {}
        self._done = 0
        self._copies: queue.Queue[Copy] = queue.Queue()
        copies = [Copy(folder / str(number)) for number in range(PROCESSES)]
        for copy in copies:
            self._copies.put(copy)
        # a person may go on writing in the checkout
        self._tree = copies[0].tree

    def try_all(self, mutants: Sequence[Mutant]) -> list[tuple[Mutant, MutantResult]]:
        """What became of each that was tried, now or in a call before."""
        todo = [mutant for mutant in mutants if self._known(mutant) is None]
        print(f"{len(todo)} of {len(mutants)} mutants to try.", file=sys.stderr, flush=True)
        self._try_side_by_side(todo)
        results = ((mutant, self._known(mutant)) for mutant in mutants)
        return [(mutant, result) for mutant, result in results if result is not None]

    def _known(self, mutant: Mutant) -> MutantResult | None:
        """Its result, where module and tests are as they were."""
        result = self._record.get(mutant.key)
        if result is None or result.module != self._digest(mutant.path):
            return None
        return result if result.tests == self._tests(mutant, result.by) else None

    def _tests(self, mutant: Mutant, by: str) -> str:
        file = by.partition("::")[0]
        paths = mutant.target.test_paths()
        return self._digest(*([file] if file in paths else paths))

    def _digest(self, *paths: str) -> str:
        if paths not in self._digests:
            self._digests[paths] = digest(self._tree, paths)
        return self._digests[paths]

    def _try_side_by_side(self, mutants: list[Mutant]) -> None:
        """Try each in a copy that no other uses, until the time is up."""

        def one(mutant: Mutant) -> None:
            copy = self._copies.get()
            try:
                if time.monotonic() < self._deadline:
                    self._try(copy, mutant)
            finally:
                self._copies.put(copy)

        with ThreadPoolExecutor(PROCESSES) as pool:
            try:
                list(pool.map(one, mutants))
            except BaseException:
                STOPPED.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _covering(self, copy: Copy, target: MutationTarget) -> Covering:
        with self._covers[target]:
            if target not in self._coverings:
                self._coverings[target] = covering(target, copy, CACHE)
            return self._coverings[target]

    def _try(self, copy: Copy, mutant: Mutant) -> None:
        covered = self._covering(copy, mutant.target)
        tests = covered.tests(mutant)
        before = self._record.get(mutant.key)
        if before is not None and before.by in covered.seconds:
            tests = [before.by, *(one for one in tests if one != before.by)]
        others = [one for one in covered.seconds if one not in set(tests)]
        fate, observed = MutantFate.SURVIVED, Observed()
        for some in (tests, others):
            if some and fate is MutantFate.SURVIVED:
                seconds = sum(covered.seconds[one] for one in some)
                fate, observed = self._run(copy, mutant, some, seconds)
        with self._lock:
            if fate is not MutantFate.UNDECIDED:
                self._record.add(self._result(mutant, fate, observed))
            self._done += 1
            print(f"{self._done}: {fate.value}  {mutant}", file=sys.stderr, flush=True)

    def _result(self, mutant: Mutant, fate: MutantFate, observed: Observed) -> MutantResult:
        return MutantResult(
            key=mutant.key,
            module=self._digest(mutant.path),
            tests=self._tests(mutant, observed.failed),
            fate=fate,
            by=observed.failed,
            cpu=round(observed.cpu, 2),
        )

    def _run(
        self, copy: Copy, mutant: Mutant, tests: list[str], seconds: float
    ) -> tuple[MutantFate, Observed]:
        """Run these tests with the mutant; the limit follows what they take without it."""
        limit = SHORTEST + PATIENCE * seconds
        for _ in range(1 + RAISES):
            with copy.changed(mutant.path, mutant.code):
                observed = copy.run(tests, limit)
            if not observed.timed_out:
                return MutantFate.SURVIVED if observed.passed else MutantFate.KILLED, observed
            if STOPPED.is_set():
                break
            begun = time.monotonic()
            without = copy.run(tests, limit)
            taken = time.monotonic() - begun
            if without.passed and PATIENCE * taken <= limit:
                return MutantFate.TIMED_OUT, observed
            limit = PATIENCE * max(taken, limit)
        return MutantFate.UNDECIDED, observed
