"""The record of a batch, opened by the commands that work on it.

One that cannot be used is told for what it is, with the command that rebuilds it: when it is
opened, and where it shows itself to be damaged only later.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import IllegalTransition, OutputError, RecordLost, SpriteworksError, StoreError
from .store.condition import examine
from .store.place import FILE_NAME, POINTER
from .store.soundness import fault_in
from .store.store import Store

# Errors of ours that a damaged record may lead to; others speak of something else.
_OF_RECORDS = (SpriteworksError, StoreError, IllegalTransition, OutputError)


@contextmanager
def record_of(folder: str | Path, *, create: bool = True, url: str = "") -> Iterator[Store]:
    """Open the record of a batch's folder, see `Store.open`, for as long as the block runs.

    Raises RecordLost where it lies in the folder and is gone, emptied or damaged, also where the
    block finds that out. Then nothing has been changed.
    """
    folder = Path(folder)
    is_here = not url and not (folder / POINTER).exists()
    if is_here:
        finding = examine(folder)
        if not finding.condition.is_usable:
            raise RecordLost(lost(folder, finding.words))
    try:
        with Store.open(folder, create=create, url=url) as store:
            yield store
    except Exception as error:
        # A fault of ours is not to be taken for one of the record, nor the other way round.
        if not is_here or not _may_be_the_records(error):
            raise
        fault = fault_in(folder)
        if not fault:
            raise
        raise RecordLost(lost(folder, fault)) from error


def lost(folder: Path, words: str) -> str:
    """The sentence about a record that cannot be used; `words` is its predicate."""
    command = shlex.join(["spriteworks", "batch", "recover", str(folder)])
    return (
        f"the record of {folder}, {FILE_NAME}, {words}; `{command}` rebuilds it from the pictures"
    )


def _may_be_the_records(error: Exception) -> bool:
    return not isinstance(error, SpriteworksError) or type(error) in _OF_RECORDS
