"""What a backup says of itself: `backup.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from ...batch.execution.store.tables import VERSION
from ...errors import InputError

NAME = "backup.json"
# of the form of a backup; a later one is refused
FORM = 1


class DatabaseKind(Enum):
    """Of which database a record is."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, kw_only=True)
class BackupManifest:
    """What a whole backup has."""

    kind: DatabaseKind
    # the record's name in the backup, its SHA-256 in hexadecimal digits, its bytes
    record: str
    sha256: str
    record_bytes: int
    # of the tables, as in `batch.execution.store.tables`; 0 where there are none yet
    record_version: int
    # contents of files and their bytes in all; None where only the record was kept
    files: int | None
    file_bytes: int | None
    # hashes that rows name and that the storage itself had lost
    missing: tuple[str, ...] = ()
    # s since the epoch by the wall clock
    made_at: float
    # which made it
    spriteworks: str

    def to_json(self) -> dict[str, Any]:
        return {
            "form": FORM,
            **asdict(self),
            "kind": self.kind.value,
            "missing": list(self.missing),
        }

    def to_bytes(self) -> bytes:
        """As it is written."""
        return (json.dumps(self.to_json(), indent=2) + "\n").encode()


def manifest_of(text: str | bytes, place: str) -> BackupManifest:
    """Read a manifest; raises InputError where it is none that can be used here."""
    try:
        found = json.loads(text)
        form = int(found.pop("form"))
        if form > FORM:
            raise InputError(
                f"{place} is a backup of a later form ({form}, here {FORM}); use the version that "
                f"made it, {found.get('spriteworks')}"
            )
        manifest = BackupManifest(
            **{**found, "kind": DatabaseKind(found["kind"]), "missing": tuple(found["missing"])}
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{place} has no {NAME} that can be read ({error})") from error
    if manifest.record_version > VERSION:
        raise InputError(
            f"{place} has a record of a later version ({manifest.record_version}, here {VERSION}); "
            f"restore it with Spriteworks {manifest.spriteworks} or later"
        )
    return manifest
