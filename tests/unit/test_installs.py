"""Managed ComfyUIs, from a tiny repository: made, listed, changed, brought back, removed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

import tiny_comfyui
from orchestrator.errors import InstallFailed, OutputError, UsageError
from orchestrator.local import environments, installs, launch, pack
from orchestrator.local.arguments import MANAGED, with_managed
from orchestrator.local.installs import Install
from orchestrator.local.serving import Choice

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git: install it")
pytestmark = needs_git
NOTHING = "spriteworks-has-no-such-requirement @ file:///nowhere/none.whl\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny_comfyui.repository(tmp_path / "a source", "0.9.0", "0.10.0")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data of mine" / "comfyui"
    monkeypatch.setenv(installs.VARIABLE, str(folder))
    # An environment as uv and pip make it takes seconds; one test has a whole one.
    monkeypatch.setattr(installs, "make_environment", quick_environment)
    return folder


def quick_environment(folder: Path, torch: object, told: object) -> None:
    """As the installer would: fails by what the requirements name, else leaves its Python."""
    text = (folder / "requirements.txt").read_text(encoding="utf-8")
    python = environments.environment_python(folder)
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(text, encoding="utf-8")
    if NOTHING in text:
        raise InstallFailed("the installer said: no such requirement")


def made(root: Path, source: Path, version: str = "0.10.0", folder: Path | None = None) -> Install:
    return installs.install(
        root, version, source=str(source), folder=folder, torch=(), report=lambda *said: None
    )


def changed(root: Path, old: Install, version: str) -> Install:
    return installs.update(root, old, version, report=lambda *said: None)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_an_install_has_its_version_and_the_pack_with_its_workflows(
    root: Path, source: Path
) -> None:
    same = '# changed\n__version__ = "0.10.0"\n'
    tiny_comfyui.commit(source, "the same version", comfyui_version_dot_py=same)
    one = made(root, source)
    assert one.folder == root / "ComfyUI-0.10.0"
    assert one.commit == tiny_comfyui.git(source, "rev-parse", "HEAD~2")
    assert (one.version, one.ready, one.source) == ("0.10.0", True, str(source))
    assert not (one.folder / "notes.txt").read_text(encoding="utf-8").startswith("0.10")
    assert pack.has_pack(one.folder)
    templates = one.folder / "custom_nodes" / "spriteworks" / "example_workflows"
    shipped = [path.name for path in pack.workflows_folder().glob("*.json")]
    assert {"sprite.json", "sprite.jpg"} <= set(names(templates))
    assert set(shipped) <= set(names(templates))
    assert installs.listed(root) == [one]
    assert names(root) == ["ComfyUI-0.10.0", "installs.lock"]


def test_what_is_there_is_kept_and_the_newest_is_meant(root: Path, source: Path) -> None:
    new, old = made(root, source), made(root, source, "0.9.0")
    mine = new.folder / "models" / "mine.safetensors"
    mine.touch()
    # The source has gone: nothing needs to be fetched.
    assert made(root, source.parent / "none") == new
    assert mine.exists()
    assert [one.version for one in installs.listed(root)] == ["0.10.0", "0.9.0"]
    assert installs.chosen(root) == new
    assert installs.chosen(root, "v0.9.0") == old
    assert installs.chosen(root, old.commit[:8]) == old
    assert Choice(comfyui=Path(MANAGED)).comfyui == new.folder
    with pytest.raises(UsageError, match=r"no managed ComfyUI 7; there is ComfyUI 0\.10\.0 in"):
        installs.chosen(root, "7")


def test_a_tag_and_a_commit_are_versions(root: Path, source: Path) -> None:
    head = tiny_comfyui.git(source, "rev-parse", "HEAD")
    tiny_comfyui.git(source, "tag", "v0.10.0")
    assert made(root, source).commit == head
    first = tiny_comfyui.git(source, "rev-parse", "HEAD~1")
    # the same number, another commit
    by_commit = made(root, source, first[:10])
    assert by_commit.commit == first
    assert by_commit.folder == root / f"ComfyUI-0.10.0-{first[:8]}"
    # another name for what is there
    assert made(root, source, "HEAD") == installs.chosen(root, head)
    assert len(installs.listed(root)) == 2


@pytest.mark.parametrize("version", ["0.11.0", "--output=x"])
def test_a_version_that_is_not_there_names_the_nearest(
    root: Path, source: Path, version: str
) -> None:
    with pytest.raises(UsageError, match=r"no ComfyUI .* nearest are 0\.9\.0, 0\.10\.0$"):
        made(root, source, version)
    assert not root.exists()


def test_no_repository_and_no_git_are_one_sentence(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InstallFailed, match=r"cannot be fetched from .*none: fatal: .*none"):
        made(root, source.parent / "none")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="git, which is not installed"):
        made(root, source)
    assert not root.exists()


def test_a_disk_that_is_full_is_said_before_anything_is_downloaded(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_comfyui.release(source, "0.11.0", "torch\n")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3_000_000_000))
    with pytest.raises(OutputError, match=r"needs 9\.0 GB .* has 3\.0 GB left"):
        made(root, source, "0.11.0")
    assert made(root, source, "0.10.0").ready


def test_an_install_that_broke_is_gone_on_with(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path, torch: object, told: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(installs, "make_environment", broken)
        with pytest.raises(KeyboardInterrupt):
            made(root, source)
    (one,) = installs.listed(root)
    assert not one.ready
    with pytest.raises(UsageError, match=r"not whole.*comfyui install --version 0\.10\.0"):
        installs.chosen(root)
    assert made(root, source.parent / "none") == replace(one, ready=True)


def test_a_place_of_its_own_is_known_and_forgotten(root: Path, source: Path) -> None:
    place = source.parent / "elsewhere" / "my ComfyUI"
    one = made(root, source, folder=place)
    assert one.folder == place
    assert installs.listed(root) == [one]
    assert installs.chosen(root, folder=place) == one
    with pytest.raises(UsageError, match=r"ComfyUI 0\.10\.0 in .* is there; to change it"):
        made(root, source, "0.9.0", place)
    installs.remove(root, one)
    assert names(place.parent) == []
    assert not root.exists()


def test_a_folder_of_somebody_else_is_left_alone(root: Path, source: Path) -> None:
    place = source.parent / "mine"
    place.mkdir()
    (place / "file").touch()
    with pytest.raises(UsageError, match="not made by Spriteworks"):
        made(root, source, folder=place)
    assert names(place) == ["file"]
    assert not root.exists()
    (place / "file").unlink()
    assert made(root, source, folder=place).ready


def test_an_update_comes_to_what_the_source_has_now(root: Path, source: Path) -> None:
    old = made(root, source)
    mine = old.folder / "models" / "mine.safetensors"
    mine.touch()
    commit = tiny_comfyui.release(source, "0.11.0")
    new = changed(root, old, "0.11.0")
    assert (new.version, new.commit, new.folder) == ("0.11.0", commit, old.folder)
    assert installs.listed(root) == [new]
    python = environments.environment_python(new.folder)
    assert "0.11.0" in python.read_text(encoding="utf-8")
    assert changed(root, new, "0.11.0") == new
    # and back
    assert changed(root, new, "0.10.0") == old
    assert mine.exists()
    # The name of the updated one is taken.
    changed(root, old, "0.11.0")
    again = made(root, source)
    assert again.folder == root / f"ComfyUI-0.10.0-{again.commit[:8]}"


def test_an_update_that_fails_is_taken_back(root: Path, source: Path) -> None:
    old = made(root, source)
    tiny_comfyui.release(source, "0.11.0", NOTHING)
    with pytest.raises(InstallFailed, match=r"is as it was, .* no such requirement"):
        changed(root, old, "0.11.0")
    assert installs.listed(root) == [old]
    python = environments.environment_python(old.folder)
    assert "0.10.0" in python.read_text(encoding="utf-8")
    assert tiny_comfyui.git(old.folder, "rev-parse", "HEAD") == old.commit
    with pytest.raises(UsageError, match=r"no ComfyUI 7\.0\.0"):
        changed(root, old, "7.0.0")
    assert installs.listed(root) == [old]


def test_an_update_that_cannot_be_taken_back_is_gone_on_with(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = made(root, source)
    tiny_comfyui.release(source, "0.11.0")

    def offline(folder: Path, torch: object, told: object) -> None:
        raise InstallFailed("there is no network")

    with monkeypatch.context() as patch:
        patch.setattr(installs, "make_environment", offline)
        with pytest.raises(InstallFailed, match=r"it could not be brought back to 0\.10\.0"):
            changed(root, old, "0.11.0")
    assert installs.listed(root) == [replace(old, ready=False)]
    assert made(root, source) == old


def test_an_update_does_not_overwrite_what_somebody_changed(root: Path, source: Path) -> None:
    old = made(root, source)
    tiny_comfyui.commit(source, "new", main_dot_py="new")
    tiny_comfyui.release(source, "0.11.0")
    (old.folder / "main.py").write_text("mine", encoding="utf-8")
    with pytest.raises(InstallFailed, match=r"is as it was, .* local changes"):
        changed(root, old, "0.11.0")
    assert (old.folder / "main.py").read_text(encoding="utf-8") == "mine"
    assert installs.listed(root) == [old]


def test_an_update_that_was_killed_is_gone_on_with(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = made(root, source)
    tiny_comfyui.release(source, "0.11.0")

    def broken(folder: Path, torch: object, told: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(installs, "make_environment", broken)
        with pytest.raises(KeyboardInterrupt):
            changed(root, old, "0.11.0")
    assert installs.listed(root) == [replace(old, ready=False)]
    assert made(root, source) == old
    assert tiny_comfyui.git(old.folder, "rev-parse", "HEAD") == old.commit


def test_a_repository_around_an_install_is_left_alone(root: Path, source: Path) -> None:
    old = made(root, source)
    around = tiny_comfyui.repository(root.parent, "0.1.0")
    head = tiny_comfyui.git(around, "rev-parse", "HEAD")
    (old.folder / ".git").rename(root.parent / "taken away")
    with pytest.raises(InstallFailed, match="not a git repository"):
        changed(root, old, "0.9.0")
    with pytest.raises(InstallFailed, match="not a git repository"):
        installs.remove(root, old)
    assert tiny_comfyui.git(around, "rev-parse", "HEAD") == head
    installs.remove(root, old, force=True)
    assert not old.folder.exists()


OWN = [
    "models/checkpoints/mine.safetensors",
    "input/mine.png",
    "output/sub/mine.png",
    "custom_nodes/other/__init__.py",
    "user/default/workflows/mine.json",
]


@pytest.mark.parametrize("name", OWN)
def test_what_is_somebodys_own_is_not_removed(root: Path, source: Path, name: str) -> None:
    one = made(root, source)
    for made_by_comfyui in ("user/comfyui.db", "custom_nodes/__pycache__/example.pyc"):
        (one.folder / made_by_comfyui).parent.mkdir(parents=True, exist_ok=True)
        (one.folder / made_by_comfyui).touch()
    assert installs.own_files(one) == []
    (one.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (one.folder / name).touch()
    with pytest.raises(UsageError, match=f"files of yours .{re.escape(name)}.; .*--force"):
        installs.remove(root, one)
    assert (one.folder / name).exists()
    installs.remove(root, one, force=True)
    assert not root.exists()


def test_one_command_at_a_time_changes_installs(root: Path, source: Path) -> None:
    one = made(root, source)
    with FileLock(root / "installs.lock"), pytest.raises(UsageError, match="another command"):
        installs.remove(root, one)
    assert one.folder.exists()


def test_a_mark_that_cannot_be_read_is_said(root: Path, source: Path) -> None:
    one = made(root, source)
    (one.folder / installs.MARK).write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match=r"spriteworks-install\.json cannot be read"):
        installs.listed(root)


def test_without_an_install_the_command_that_makes_one_is_named(root: Path) -> None:
    with pytest.raises(UsageError, match="spriteworks comfyui install"):
        Choice(comfyui=Path(MANAGED))


def test_the_pack_is_found_again_after_spriteworks_moved(
    root: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made(root, source)
    monkeypatch.setattr(pack, "pack_folder", lambda: tmp_path / "moved" / "comfy_nodes")
    pack.renew_pack(one.folder)
    shim = one.folder / "custom_nodes" / "spriteworks" / "__init__.py"
    assert (tmp_path / "moved" / "comfy_nodes").as_posix() in shim.read_text(encoding="utf-8")
    shim.write_text("# somebody else's", encoding="utf-8")
    pack.renew_pack(one.folder)
    assert shim.read_text(encoding="utf-8") == "# somebody else's"


def test_what_comfyui_reads_beside_the_pack_is_there_and_is_renewed(tmp_path: Path) -> None:
    """Also for a ComfyUI of somebody's own, into which nothing is written."""
    work = tmp_path / "work"
    work.mkdir()
    launch.write_extra_paths(tmp_path / "ComfyUI", work, None)
    package = work / "custom_nodes" / "spriteworks"
    templates = package / "example_workflows"
    shipped = pack.workflows_folder()
    for folder, source, pattern in (
        (templates, shipped, "*.json"),
        (templates, shipped, "*.jpg"),
        (templates / "inputs", shipped / "inputs", "*.*"),
        (package / "subgraphs", shipped.parent / "subgraphs", "*.json"),
    ):
        for path in source.glob(pattern):
            assert (folder / path.name).read_bytes() == path.read_bytes()
    assert names(package / "subgraphs") == ["Finish a sprite.json", "Frames to sheet.json"]

    (templates / "old.json").touch()
    (templates / "sprite.json").write_text("changed", encoding="utf-8")
    same = (templates / "batch.json").stat().st_mtime_ns
    pack.write_package(package)
    assert not (templates / "old.json").exists()
    assert (templates / "sprite.json").read_bytes() == (shipped / "sprite.json").read_bytes()
    assert (templates / "batch.json").stat().st_mtime_ns == same


def test_the_package_gives_what_comfyui_asks_of_a_pack(tmp_path: Path) -> None:
    package = tmp_path / pack.SHIM_NAME
    pack.write_package(package)
    told = "print(pack.WEB_DIRECTORY, pack.comfy_entrypoint, sep=chr(10))"
    asked = f"import {package.name} as pack; {told}"
    found = subprocess.run(
        [sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stderr
    web, entry = found.stdout.splitlines()
    assert (Path(web) / "spriteworks.js").is_file()
    assert "comfy_entrypoint" in entry


def test_a_run_on_it_loads_the_pack_once(root: Path, source: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    paths = launch.write_extra_paths(made(root, source).folder, work, None)
    assert json.loads(paths.read_text(encoding="utf-8")) == {"spriteworks": None}


def test_a_bare_option_means_the_managed_one() -> None:
    bare = f"--comfyui={MANAGED}"
    assert with_managed(["run", "x", "--comfyui"]) == ["run", "x", bare]
    assert with_managed(["run", "--comfyui", "--json"]) == ["run", bare, "--json"]
    assert with_managed(["run", "--comfyui", "dir"]) == ["run", "--comfyui", "dir"]
    assert with_managed(["run", "--comfyui=dir"]) == ["run", "--comfyui=dir"]
    assert with_managed(["comfyui", "start", "--", "--comfyui"])[-1] == "--comfyui"


@pytest.mark.parametrize(
    ("platform", "environment", "place"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/spriteworks/comfyui"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "~/.local/share/spriteworks/comfyui"),
        ("linux", {}, "~/.local/share/spriteworks/comfyui"),
        ("darwin", {}, "~/Library/Application Support/spriteworks/comfyui"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/Spriteworks/comfyui"),
        ("linux", {installs.VARIABLE: "~/here"}, "~/here"),
    ],
)
def test_where_installs_lie(
    platform: str, environment: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "XDG_DATA_HOME" in environment and not Path("/data").is_absolute():
        pytest.skip("paths of another system")
    monkeypatch.setattr(installs.sys, "platform", platform)
    assert installs.root_of(environment) == Path(place).expanduser()


def test_the_default_version_is_the_newest_that_the_tests_passed_on(repository: Path) -> None:
    page = (repository / "docs" / "comfyui-versions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d.]+) \| (\w+) \| \S+ \| \d+ \| (\d+) \|", page, re.MULTILINE)
    passed = [version for version, _, failed in rows if failed == "0"]
    newest = max(passed, key=lambda one: tuple(map(int, one.split("."))))
    assert newest == installs.TESTED


def test_the_mark_holds_all_that_an_update_needs(root: Path, source: Path) -> None:
    one = made(root, source)
    mark = json.loads((one.folder / installs.MARK).read_text(encoding="utf-8"))
    assert mark == {
        "version": "0.10.0",
        "commit": one.commit,
        "source": str(source),
        "torch": [],
        "ready": True,
    }
