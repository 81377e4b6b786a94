"""What a service's folder is when it is new, and what stays where it cannot be opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from orchestrator.errors import BadValue, OutputError, SpriteworksError, StoreError
from orchestrator.local.process import free_port
from orchestrator.local.serving import Choice
from orchestrator.service.opening import Setup, opened

NOTHING = Choice(nothing=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes of files")
def test_a_new_folder_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "dâta"
    with opened(Setup(folder=folder, choice=NOTHING)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def _refused(tmp_path: Path, **setup: str) -> tuple[SpriteworksError, list[str]]:
    """The error of a service that cannot be opened, and what it left behind."""
    (tmp_path / "file").touch()
    setup = {name: value.replace("HERE", str(tmp_path)) for name, value in setup.items()}
    with (
        pytest.raises(SpriteworksError) as caught,
        opened(Setup(folder=tmp_path / "service", choice=NOTHING, **setup)),
    ):
        pass
    return caught.value, [one.name for one in tmp_path.iterdir() if one.name != "file"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://u:secret@127.0.0.1:port/db", "that is no address of one"),
        ("nonsense", "that is no address of one"),
        ("mysql://u:secret@127.0.0.1/db", "not in mysql"),
    ],
)
def test_a_database_that_is_none_is_refused_and_leaves_nothing(
    tmp_path: Path, url: str, words: str
) -> None:
    error, left = _refused(tmp_path, store=url)
    assert isinstance(error, BadValue)
    assert words in str(error)
    assert "secret" not in str(error)
    assert not left


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:secret@127.0.0.1:PORT/db", "postgresql://127.0.0.1:PORT/db?password=secret"],
)
def test_a_database_that_is_away_leaves_nothing(tmp_path: Path, url: str) -> None:
    pytest.importorskip("psycopg", reason="pip install -e '.[postgresql]'")
    error, left = _refused(tmp_path, store=url.replace("PORT", str(free_port())))
    assert isinstance(error, StoreError)
    assert "secret" not in str(error)
    assert not left


def test_files_that_cannot_be_kept_leave_nothing(tmp_path: Path) -> None:
    error, left = _refused(tmp_path, storage="HERE/file/below")
    assert isinstance(error, OutputError)
    assert not left
