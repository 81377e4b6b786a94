"""The note of a kept engine, who may have written it, and which engine fits a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from orchestrator.errors import BadValue, OutputError, UsageError
from orchestrator.local import wanted
from orchestrator.local.durations import seconds_in
from orchestrator.local.kept import RUNTIME, Note, Place, Settings
from orchestrator.local.serving import Choice, choose
from orchestrator.local.wanted import wanted_settings

posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners are POSIX's")
SETTINGS = Settings(
    version="1",
    code="here 0",
    python="/bin/python",
    models=("/models",),
    device="cpu",
    environment={"HF_HOME": "0"},
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place({RUNTIME: str(tmp_path / "own folder" / "spriteworks")})


def note_of(process: psutil.Process, work: Path) -> Note:
    return Note(
        pid=process.pid,
        born=process.create_time(),
        url="http://127.0.0.1:1",
        token="secret",
        work=work,
        settings=SETTINGS,
    )


def files_in(place: Place) -> list[str]:
    return [one.name for one in place.folder.iterdir()]


def test_a_note_is_read_as_it_was_written_and_hides_its_token(place: Place, tmp_path: Path) -> None:
    note = note_of(psutil.Process(), tmp_path)
    assert place.read() is None
    place.write(note)
    assert place.read() == note
    assert place.living() == note
    assert "secret" not in repr(note)
    place.remove("of another engine")
    assert place.read() == note
    place.remove("secret")
    assert files_in(place) == []


@posix
def test_only_its_owner_may_read_it(place: Place, tmp_path: Path) -> None:
    place.write(note_of(psutil.Process(), tmp_path))
    (path,) = place.folder.iterdir()
    assert (place.folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


@posix
@pytest.mark.parametrize("spoil", ["folder", "note", "above"])
def test_what_others_could_have_written_does_not_count(
    place: Place, tmp_path: Path, spoil: str
) -> None:
    place.write(note_of(psutil.Process(), tmp_path))
    (path,) = place.folder.iterdir()
    spoiled = {"folder": place.folder, "note": path, "above": place.folder.parent}[spoil]
    spoiled.chmod(0o777)
    assert place.read() is None
    if spoil != "note":
        with pytest.raises(UsageError, match=RUNTIME):
            place.prepare()


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_what_belongs_to_others_does_not_count(place: Place, tmp_path: Path) -> None:
    place.write(note_of(psutil.Process(), tmp_path))
    (path,) = place.folder.iterdir()
    for one in (path, place.folder, place.folder.parent):
        os.chown(one, 65534, -1)
        assert place.read() is None
        os.chown(one, 0, -1)
        assert place.read() is not None


@posix
def test_a_folder_that_leads_elsewhere_does_not_count(place: Place, tmp_path: Path) -> None:
    place.write(note_of(psutil.Process(), tmp_path))
    moved = place.folder.rename(tmp_path / "elsewhere")
    place.folder.symlink_to(moved)
    assert place.read() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1}', "\x00", "null"])
def test_a_damaged_note_is_none(place: Place, tmp_path: Path, text: str) -> None:
    place.write(note_of(psutil.Process(), tmp_path))
    (path,) = place.folder.iterdir()
    path.write_text(text, encoding="utf-8")
    assert place.living() is None
    place.write(note_of(psutil.Process(), tmp_path))
    assert place.living() is not None


@pytest.mark.parametrize(
    "change",
    [
        {"pid": -1},
        {"pid": 10**30},
        {"pid": float("inf")},
        {"pid": "1"},
        {"born": 10**400},
        {"work": ""},
        {"work": "."},
        {"work": 3},
        {"settings": []},
        {"settings": {"models": 3}},
    ],
)
def test_a_note_that_no_engine_wrote_is_none_and_removes_nothing(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    note = note_of(psutil.Process(), tmp_path)
    place.write(note)
    (path,) = place.folder.iterdir()
    # of a process that has ended, unless the change says another thing
    path.write_text(json.dumps({**note.to_json(), "born": 1.0, **change}), encoding="utf-8")
    assert place.living() is None
    assert path.exists()


def test_what_a_killed_engine_left_behind_goes(place: Place, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "server.log").write_text("killed", encoding="utf-8")
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    place.write(note_of(psutil.Process(sleeper.pid), work))
    assert place.living() is not None
    sleeper.kill()
    # not waited for yet: it still has its number
    psutil.wait_procs([psutil.Process(sleeper.pid)], timeout=0)
    sleeper.wait()
    assert place.living() is None
    assert files_in(place) == []
    assert not work.exists()
    sleeper.communicate()


def test_a_number_that_somebody_else_has_now_is_no_engine(place: Place, tmp_path: Path) -> None:
    here = psutil.Process()
    place.write(replace(note_of(here, tmp_path / "work"), born=here.create_time() - 3600))
    assert place.living() is None
    assert files_in(place) == []


def test_a_place_where_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        Place({RUNTIME: str(tmp_path / "file" / "spriteworks")}).prepare()
    assert Place({RUNTIME: str(tmp_path / "file" / "spriteworks")}).read() is None


def test_without_a_name_the_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUNTIME)
    assert Place().folder.name.lower() == "spriteworks"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "2"}, "version 1"),
        ({"code": "there 0"}, "other code"),
        ({"python": "/usr/bin/python"}, "other code"),
        ({"models": ()}, "it has --models /models"),
        ({"device": ""}, "it has --device cpu"),
        ({"environment": {"HF_HOME": "1"}}, "HF_HOME"),
        ({"environment": {}}, "HF_HOME"),
        ({"environment": {"HF_HOME": "0", "OMP_NUM_THREADS": "1"}}, "OMP_NUM_THREADS"),
        ({}, ""),
    ],
)
def test_only_an_engine_of_the_same_settings_fits(change: dict[str, object], said: str) -> None:
    objection = SETTINGS.objection(replace(SETTINGS, **change))  # type: ignore[arg-type]
    assert said in objection
    assert bool(said) == bool(objection)


def test_an_engine_without_options_says_so() -> None:
    bare = replace(SETTINGS, models=(), device="")
    assert bare.objection(replace(bare, models=("/a", "/b"))) == "it has no --models"


def test_settings_come_from_what_the_engine_looks_at(tmp_path: Path) -> None:
    plain = wanted_settings([], "", {"HOME": "/root", "PATH": "/bin", "SPRITEWORKS_SERVER": "x"})
    assert plain.environment == {}
    found = wanted_settings([tmp_path], "cpu", {"HF_TOKEN": "secret", RUNTIME: "x"})
    assert list(found.environment) == ["HF_TOKEN"]
    assert "secret" not in json.dumps(found.environment)
    assert (found.models, found.device) == ((str(tmp_path.resolve()),), "cpu")
    assert found.code == plain.code


def test_code_that_is_changed_is_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "comfy_nodes" / "deep").mkdir(parents=True)
    module = tmp_path / "comfy_nodes" / "deep" / "module.py"
    module.touch()
    monkeypatch.setattr(wanted, "pack_folder", lambda: tmp_path / "comfy_nodes")
    before = wanted_settings([], "", {}).code
    assert wanted_settings([], "", {}).code == before
    os.utime(module, ns=(0, 1))
    assert wanted_settings([], "", {}).code != before


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("2s", 2), ("10m", 600), (" 1.5 H ", 5400), ("1d", 86400)],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_in(text, "--keep") == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "m", "10 weeks", "1e3", "nan", "inf", "9" * 400])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(BadValue, match=r"--keep .*: write a time as 90s"):
        seconds_in(text, "--keep")


def test_what_is_kept_is_the_engine_that_nobody_named(tmp_path: Path) -> None:
    assert choose(Choice(keep=1.0), {"SPRITEWORKS_SERVER": "here:1"}) == Choice(keep=1.0)
    assert Choice().may_be_kept()
    assert not Choice().unshared().may_be_kept()
    others = (
        Choice(urls=("here:1",)),
        Choice(comfyui=tmp_path),
        Choice(engines=1),
        Choice(nothing=True),
    )
    for other in others:
        assert not other.may_be_kept()
        assert other.unshared() == other
        with pytest.raises(UsageError, match="--keep is for the embedded engine"):
            replace(other, keep=1.0)
