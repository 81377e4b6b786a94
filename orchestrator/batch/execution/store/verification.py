"""Whether the pictures of a batch are still what its record says."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ....errors import OutputError
from ....workflow.wording import listed
from ...logic.jobs import Artifact, State
from ..sources import file_sha256
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What a look at all pictures found. Paths are inside the batch folder."""

    # pictures looked at
    checked: int
    missing: tuple[str, ...] = ()
    # there, and with other bytes than the record says
    damaged: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What was found, for the log; nothing where all is well."""
        found = (("missing", self.missing), ("damaged", self.damaged))
        return [
            f"{len(paths)} of {self.checked} pictures {'is' if len(paths) == 1 else 'are'} {what} "
            f"and made again: {listed(paths)}"
            for what, paths in found
            if paths
        ]


def verify(store: Store, folder: Path, *, thorough: bool = False) -> Verified:
    """Compare the pictures of jobs that are done with the record, and put back those not so.

    A picture whose size and time are as they were is taken to be right; any other is hashed, and
    `thorough` hashes all. Jobs of missing and damaged pictures become pending again, or fail
    where that has happened too often (`Store.remake`). Raises
    OutputError where a picture cannot be read for another reason.
    """
    artifacts = store.artifacts()
    found: dict[str, list[Artifact]] = {"missing": [], "damaged": []}
    for artifact in artifacts:
        fault = _fault(artifact, folder, thorough)
        if fault:
            found[fault].append(artifact)
    with store.transaction():
        for fault, bad in found.items():
            store.remake(_keys(bad, store), f"its picture is {fault}")
    missing, damaged = (tuple(one.path for one in bad) for bad in found.values())
    return Verified(checked=len(artifacts), missing=missing, damaged=damaged)


def _keys(artifacts: Iterable[Artifact], store: Store) -> list[str]:
    """The jobs of pictures, each once; one with several pictures may be put back already."""
    keys = list(dict.fromkeys(artifact.key for artifact in artifacts))
    return [key for key in keys if store.entry(key).state is State.DONE]


def _fault(artifact: Artifact, folder: Path, thorough: bool) -> str | None:
    # not joined by pathlib, which takes longer than the look itself
    path = os.path.join(folder, artifact.path)
    try:
        status = os.stat(path)
        if status.st_size != artifact.bytes:
            return "damaged"
        if status.st_mtime_ns == artifact.mtime_ns and not thorough:
            return None
        return None if file_sha256(Path(path)) == artifact.sha256 else "damaged"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise OutputError(
            f"the picture {path} cannot be read ({error.strerror or error}); check the disk and "
            "the folder's permissions"
        ) from error
