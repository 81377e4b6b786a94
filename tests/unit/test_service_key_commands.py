"""`spriteworks keys`, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import AccessDenied, BadValue, NotFound, UsageError
from orchestrator.service.home import DATABASE, VARIABLE, home_of, record_in
from orchestrator.service.keys import Keys
from orchestrator.service.webhooks import Webhooks


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "service"
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def keys(*arguments: str) -> tuple[str, str]:
    """What a command prints on both streams; raises what it ends with."""
    result = CliRunner().invoke(app, ["keys", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_a_key_is_printed_alone_and_opens(home: Path) -> None:
    out, err = keys("create", "build farm", "--queue", "5", "--batch-size", "4")
    secret = out.strip()
    assert out == f"{secret}\n"
    with record_in(home) as record:
        key = Keys(record.database).check(secret)
        signing = Webhooks(record.database).secret(key.id)
    assert (key.name, key.limits.to_json()) == ("build farm", {"queue": 5, "batch_size": 4})
    assert key.id in err
    assert signing in err
    assert secret not in err
    if os.name != "nt":
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_all_is_in_the_json(home: Path) -> None:
    before = time.time()
    made = json.loads(keys("create", "x", "--expires", "2", "--rate", "60", "--json")[0])
    assert made["key"].startswith(f"sw_{made['id']}_")
    assert made["webhook_secret"].startswith("whsec_")
    assert made["limits"] == {"rate": 60}
    assert before + 2 * 86_400 <= made["expires_at"] <= time.time() + 2 * 86_400
    (listed,) = json.loads(keys("list", "--json")[0])["keys"]
    assert listed == {
        name: value for name, value in made.items() if name not in ("key", "webhook_secret")
    }


def test_the_list_is_for_people(home: Path) -> None:
    first = json.loads(keys("create", "ann's", "--json")[0])
    keys("create", "bob's", "--width", "512", "--height", "256")
    keys("revoke", first["id"])
    head, ann, bob = keys("list")[0].splitlines()
    assert head.split() == ["ID", "NAME", "STATE", "CREATED", "EXPIRES", "USED", "LIMITS"]
    assert "revoked" in ann
    assert "counts" in bob
    assert bob.endswith("width 512, height 256")
    assert first["key"] not in ann


@pytest.mark.parametrize("by", ["id", "key"])
def test_a_key_is_revoked_by_its_id_or_by_itself(home: Path, by: str) -> None:
    made = json.loads(keys("create", "x", "--json")[0])
    revoked = json.loads(keys("revoke", made[by], "--json")[0])
    assert revoked["id"] == made["id"]
    assert revoked["revoked_at"] <= time.time()
    with record_in(home) as record:
        with pytest.raises(AccessDenied):
            Keys(record.database).check(made["key"])
        # what was known to who had it signs nothing any more
        assert Webhooks(record.database).secret(made["id"]) != made["webhook_secret"]


def test_a_running_service_sees_a_revocation(home: Path) -> None:
    with record_in(home) as record:
        running = Keys(record.database, fresh=0)
        made = json.loads(keys("create", "x", "--json")[0])
        assert running.check(made["key"]).id == made["id"]
        keys("revoke", made["id"])
        with pytest.raises(AccessDenied):
            running.check(made["key"])


@pytest.mark.parametrize("command", [["list"], ["revoke", "x"]])
def test_a_folder_without_a_service_is_said_and_not_made(home: Path, command: list[str]) -> None:
    with pytest.raises(UsageError, match="no service has its data in"):
        keys(*command)
    assert not home.exists()


def test_mistakes_are_said(home: Path) -> None:
    keys("create", "x")
    with pytest.raises(NotFound, match="there is no key x"):
        keys("revoke", "x")
    with pytest.raises(BadValue, match="past"):
        keys("create", "x", "--expires", "0")
    with pytest.raises(BadValue, match="printable"):
        keys("create", "a\x1b[2Jb")
    assert len(json.loads(keys("list", "--json")[0])["keys"]) == 1


def test_the_folder_is_given_or_named_or_in_the_home_folder(tmp_path: Path) -> None:
    assert home_of(tmp_path, {VARIABLE: "elsewhere"}) == tmp_path
    assert home_of(None, {VARIABLE: "elsewhere"}) == Path("elsewhere")
    assert home_of(None, {VARIABLE: " "}) == Path.home() / ".spriteworks"
    assert home_of(None, {}) == Path.home() / ".spriteworks"


def test_an_option_beats_the_environment(home: Path, tmp_path: Path) -> None:
    keys("create", "x", "--data", str(tmp_path / "other"))
    assert not home.exists()
    assert (
        len(json.loads(keys("list", "--data", str(tmp_path / "other"), "--json")[0])["keys"]) == 1
    )


def test_the_database_is_that_of_the_environment(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere.sqlite"
    monkeypatch.setenv(DATABASE, f"sqlite:///{elsewhere.as_posix()}")
    secret = keys("create", "x")[0].strip()
    assert elsewhere.is_file()
    # as `serve` opens it, which has the same environment
    with record_in(home, f"sqlite:///{elsewhere.as_posix()}") as record:
        assert Keys(record.database).check(secret)
    # a folder that is named is meant
    other = tmp_path / "other"
    keys("create", "y", "--data", str(other))
    assert (other / "batch.sqlite").is_file()
