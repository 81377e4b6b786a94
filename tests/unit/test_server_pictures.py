"""Pictures that a workflow names and only the server has, in a folder that it does not list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.client.client import Client
from orchestrator.client.timings import Stopwatch
from orchestrator.errors import InputError
from orchestrator.runs.pictures import upload_pictures
from orchestrator.testing import FakeServer

PAINTED = "clipspace/painted.png [input]"


def graph(name: str) -> Any:
    return {"1": {"class_type": "LoadImage", "inputs": {"image": name}}}


def uploaded(fake: FakeServer, name: str, folder: Path) -> Any:
    with Client(fake.url) as client:
        watch = Stopwatch(graph(name))
        return upload_pictures(client, graph(name), client.catalogue(), folder / "a.json", watch)


def test_a_picture_of_the_mask_editor_stays_on_the_server(tmp_path: Path) -> None:
    with FakeServer() as fake:
        fake.files["input", "clipspace", "painted.png"] = b"a picture"
        assert uploaded(fake, PAINTED, tmp_path) == graph(PAINTED)
        fake.files["temp", "", "shown.png"] = b"a picture"
        assert uploaded(fake, "shown.png [temp]", tmp_path) == graph("shown.png [temp]")
        assert len(fake.files) == 2


@pytest.mark.parametrize(
    "name",
    [
        "clipspace/gone.png [input]",
        "painted.png",
        "clipspace/painted.png [output]",
        "../clipspace/painted.png",
        "clipspace/",
    ],
)
def test_a_picture_that_the_server_does_not_have_is_named(name: str, tmp_path: Path) -> None:
    with FakeServer() as fake:
        fake.files["input", "clipspace", "painted.png"] = b"a picture"
        with pytest.raises(InputError, match="there is no image"):
            uploaded(fake, name, tmp_path)
