"""What the latest plan of a batch was made from, kept beside the record to rebuild that from.

The manifest's place, and which nodes there were, so that the same jobs can be planned without a
server.
"""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ....client.client import writing
from ....workflow.catalogue import Catalogue

FILE_NAME = "batch.plan.json.gz"
# A catalogue of 3,000 classes packs to 0.4 MB, and unpacks to 4 MB.
_LARGEST = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class KeptPlan:
    """A manifest and the nodes that its jobs were planned with."""

    manifest: Path
    catalogue: Catalogue


def keep(folder: Path, manifest: Path, catalogue: Catalogue) -> None:
    """Note in a batch's folder what its plan was made from; raises OutputError."""
    path = folder / FILE_NAME
    part = folder / f".{FILE_NAME}.part"
    told = {
        "manifest": str(manifest.resolve()),
        "engine": catalogue.is_engine,
        "object_info": dict(catalogue.raw),
    }
    content = json.dumps(told, ensure_ascii=True, separators=(",", ":")).encode()
    with writing(path):
        # Level 6 takes 30 ms for a catalogue of ComfyUI's own nodes.
        part.write_bytes(gzip.compress(content, 6, mtime=0))
        os.replace(part, path)


def is_kept(folder: Path) -> bool:
    """Whether a plan left something here."""
    return (folder / FILE_NAME).is_file()


def kept(folder: Path) -> KeptPlan | None:
    """What `keep` noted; None where it is missing or damaged."""
    try:
        with gzip.open(folder / FILE_NAME) as stream:
            found = json.loads(stream.read(_LARGEST))
        classes, manifest = found["object_info"], Path(str(found["manifest"]))
        if not isinstance(classes, dict):
            return None
        catalogue = Catalogue(classes, engine=bool(found.get("engine")))
        return KeptPlan(manifest=manifest, catalogue=catalogue)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None
