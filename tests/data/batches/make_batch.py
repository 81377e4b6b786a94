"""Makes a batch in the middle of its work with the code that is on PYTHONPATH, of any version.

    python make_batch.py FOLDER [--store URL]

Of ten jobs six are done, one is FAILED, one CANCELLED, one written down for a server and one
waits. FOLDER gets the manifest, the workflow and the batch's folder `out`. The batches kept here
were made from commit a527e637, whose records are of version 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from orchestrator.batch import production as batch
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Attempt, Shot, State
from orchestrator.local.serving import Choice
from orchestrator.testing import FakeServer

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


class Silent:
    def happened(self, kind: str, **details: object) -> None:
        """Take note of nothing."""


def make(folder: Path, store_url: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")

    def run(count: int, url: str) -> None:
        items = [{"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"} for n in range(count)]
        text = {"name": "dots", "workflow": "graph.json", "items": items}
        manifest = folder / "dots.yaml"
        manifest.write_text(json.dumps(text), encoding="utf-8")
        out, choice = folder / "out", Choice(urls=(url,))
        request = batch.BatchRequest(manifest=manifest, out=out, choice=choice, store=store_url)
        if count == 10:
            batch.plan(request)
        else:
            assert batch.run(request, Silent()).is_complete

    with FakeServer() as fake:
        run(6, fake.url)
        run(10, fake.url)
    with Store.open(folder / "out") as store:
        failed, cancelled, claimed, _ = store.pending(10)
        store.move([failed.key], State.FAILED, "it broke")
        store.move([cancelled.key], State.CANCELLED, "cancelled by a person")
        shot = Shot(key=claimed.key, seed=claimed.seed_now)
        prompt_id = "0b6a4a7e-4e6f-4d0e-9a51-3a1a9b1f2c3d"
        attempt = Attempt(prompt_id=prompt_id, server="http://127.0.0.1:9", shots=(shot,))
        # its name until version 1
        (store.claim if hasattr(store, "claim") else store.record_attempt)(attempt)


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[3] if len(sys.argv) > 3 else "")
