"""`spriteworks backup`, `restore` and `migrate`: arguments and wiring only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .backup.manifest import BackupManifest

BACKUP_EPILOG = "Example: spriteworks backup /mnt/backups/spriteworks --data service"
RESTORE_EPILOG = "Example: spriteworks restore /mnt/backups/spriteworks --data service"
MIGRATE_EPILOG = "Example: spriteworks migrate --data service --dry-run"

_Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The service's folder; else SPRITEWORKS_DATA."),
]
_Store = Annotated[
    str,
    typer.Option(
        metavar="URL", help="The database, where the folder does not name it; else by environment."
    ),
]
_Storage = Annotated[
    str,
    typer.Option(
        metavar="URL", help="Where the files are, as s3://bucket/prefix, if not in the folder."
    ),
]
_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, alone, on standard output.")
]


def backup(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="A folder, brought up to date each time, or a new .tar file."
        ),
    ],
    data: _Data = None,
    store: _Store = "",
    storage: _Storage = "",
    record_only: Annotated[
        bool, typer.Option("--record-only", help="Only the database, without the files.")
    ] = False,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Also where the storage itself has lost files."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a .tar file that is there.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Back up the database and the files of a service, also while it runs.

    Both are of one moment: no row of the backup names a file that it lacks.
    """
    from .backup.making import BackupSource, make
    from .home import database_of, home_of
    from .storage import Storage

    folder = home_of(data)
    url = database_of(folder, _named(store))
    files = None if record_only else Storage(_stored(storage) or folder / "files")
    source = BackupSource(url=url, storage=files, may_lack=allow_missing)
    with _progress("copying files") as progress:
        made = make(source, target, force=force, progress=progress)
    _tell(made, target, "backed up to", as_json)


def restore(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="What `backup` made.")],
    data: _Data = None,
    store: _Store = "",
    storage: _Storage = "",
    force: Annotated[
        bool, typer.Option("--force", help="Put the record in place of one that is there.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Bring back the database and the files of a service that does not run.

    Every file's hash is looked at, and the record comes last: what fails leaves what was there.
    """
    from .backup.restoring import Destination, restore
    from .home import home_of

    to = Destination(folder=home_of(data), url=_named(store), storage=_stored(storage), force=force)
    with _progress("restoring files") as progress:
        done = restore(source, to, progress)
    _tell(done, source, "restored from", as_json)


def migrate(
    data: _Data = None,
    store: _Store = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would do, and change nothing.")
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Only where nobody else has the database open.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Bring the tables of a service to this version; `serve` does so itself when it starts."""
    from .home import home_of
    from .migrating import migrate, planned

    folder, url = home_of(data), _named(store)
    found = planned(folder, url) if dry_run else migrate(folder, url, alone=alone)
    if as_json:
        told = {
            "from": found.before,
            "to": found.after,
            "migrated": found.is_needed and not dry_run,
        }
        print(json.dumps(told, indent=2))
    elif found.is_needed:
        verb = "would go" if dry_run else "went"
        print(f"the record {verb} from version {found.before} to {found.after}", file=sys.stderr)
    else:
        print(f"the record is of version {found.after}, as it should be", file=sys.stderr)


def _named(store: str) -> str:
    from .home import DATABASE, named_by

    return named_by(DATABASE, store)


def _stored(storage: str) -> str:
    from .home import named_by
    from .workers.joining import STORAGE

    return named_by(STORAGE, storage)


def _tell(manifest: BackupManifest, place: Path, words: str, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {"path": str(place), **manifest.to_json()}
        print(json.dumps(told, indent=2))
        return
    files = "the record"
    if manifest.files is not None:
        files += f" and {manifest.files} files ({(manifest.file_bytes or 0) / 1e6:.1f} MB)"
    print(f"{files} {words} {place}", file=sys.stderr)
    if manifest.missing:
        print(f"note: it lacks {len(manifest.missing)} lost files", file=sys.stderr)


@contextmanager
def _progress(text: str) -> Iterator[Callable[[int, int], None]]:
    from ..screen import Bar, screen_on

    with screen_on(sys.stderr) as screen:
        yield lambda done, total: screen.show(Bar(text, done, total))
