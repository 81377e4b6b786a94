"""A file is on the disk whole and under its name, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.errors import OutputError
from orchestrator.runs.fetching import store


def test_a_file_is_synced_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, target = tmp_path / "part", tmp_path / "deep" / "x.png"
    synced: list[bool] = []
    fsync = os.fsync

    def noted(number: int) -> None:
        synced.append(target.exists())
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    store(b"content", str(part), str(target))
    assert synced == [False]
    assert target.read_bytes() == b"content"
    assert not part.exists()


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="--out"):
        store(b"content", str(tmp_path / "part"), str(tmp_path / "taken"))
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_disk_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        store(b"content", str(tmp_path / "part"), str(tmp_path / "x.png"))
    assert list(tmp_path.iterdir()) == []
