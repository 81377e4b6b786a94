"""Managed installs: the ComfyUIs that Spriteworks fetched, changes and removes, and no others.

Each has a mark, a file of ours in its folder; a folder without one is never touched. What is being
made or changed says so in its mark, so that the same command goes on after any end.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InstallFailed, OutputError, SpriteworksError, UsageError
from . import checkouts
from .environments import TORCH, make_environment, refuse_without_space
from .managed import users_of
from .pack import SHIM_NAME, add_pack

# The newest version on which the tests passed: docs/comfyui-versions.md.
TESTED = "0.33.0"
# Names the folder of installs where no option does.
VARIABLE = "SPRITEWORKS_COMFYUI"
MARK = "spriteworks-install.json"

# In the folder of installs: those that lie elsewhere, and a lock.
_ELSEWHERE, _LOCK = "elsewhere.json", "installs.lock"
# Where people put what is theirs.
_OWN_PARTS = ("models", "input", "output", "custom_nodes", "user/*/workflows")

# Hears what is being done, and how much of how much of it: percents, or None where nobody knows.
Report = Callable[[str, int | None], None]


@dataclass(frozen=True, kw_only=True)
class Install:
    """A ComfyUI that Spriteworks manages."""

    folder: Path
    version: str
    commit: str
    # the repository that it came from
    source: str
    # what its environment was given beside ComfyUI's requirements
    torch: tuple[str, ...]
    # False while it is being made or changed, and after a break of that
    ready: bool

    def matches(self, version: str) -> bool:
        """Say whether a person who names that version, tag or commit means this one."""
        short = len(version) >= 7 and self.commit.startswith(version.lower())
        return version.removeprefix("v") == self.version or short

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "folder": str(self.folder),
            "version": self.version,
            "commit": self.commit,
            "source": self.source,
            "torch": list(self.torch),
            "ready": self.ready,
        }

    def __str__(self) -> str:
        return f"ComfyUI {self.version} in {self.folder}"


def root_of(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of installs: by SPRITEWORKS_COMFYUI, else in the user's folder for data."""
    named = environment.get(VARIABLE, "").strip()
    return Path(named).expanduser().absolute() if named else _data(environment) / "comfyui"


def _data(environment: Mapping[str, str]) -> Path:
    home = Path.home()
    if sys.platform == "win32":
        local = environment.get("LOCALAPPDATA", "")
        return Path(local or home / "AppData" / "Local") / "Spriteworks"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "spriteworks"
    # https://specifications.freedesktop.org/basedir-spec: what is no absolute path does not count
    named = Path(environment.get("XDG_DATA_HOME", ""))
    return (named if named.is_absolute() else home / ".local" / "share") / "spriteworks"


# ------------------------------------------------------------------------- looking


def listed(root: Path) -> list[Install]:
    """All installs, the newest version first. Raises UsageError where a mark cannot be read."""
    places = [*root.glob("*/"), *_elsewhere(root)] if root.is_dir() else []
    found = [one for one in map(_read, places) if one is not None]
    return sorted(found, key=lambda one: (checkouts.order(one.version), one.ready), reverse=True)


def chosen(
    root: Path, version: str | None = None, folder: Path | None = None, *, ready: bool = True
) -> Install:
    """The newest install, or that of a version, tag or commit, or in a folder.

    Raises UsageError where there is none, or it is not `ready` and shall be.
    """
    known = listed(root)
    if not known:
        raise UsageError(
            f"there is no managed ComfyUI in {root}; make one: spriteworks comfyui install"
        )
    place = None if folder is None else folder.expanduser().absolute()
    named = [
        one
        for one in known
        if (version is None or one.matches(version)) and place in (None, one.folder)
    ]
    if not named:
        asked = " ".join(filter(None, [version, f"in {place}" if place else None]))
        there = "; there is ".join(map(str, known))
        raise UsageError(f"there is no managed ComfyUI {asked}; there is {there}")
    whole = [one for one in named if one.ready or not ready]
    if not whole:
        raise UsageError(
            f"{named[0]} is not whole; go on with: spriteworks comfyui install --version "
            f"{named[0].version}"
        )
    return whole[0]


def _read(folder: Path) -> Install | None:
    """The install in a folder; None where it has no mark."""
    path = folder / MARK
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Install(
            folder=folder,
            version=str(data["version"]),
            commit=str(data["commit"]),
            source=str(data["source"]),
            torch=tuple(map(str, data["torch"])),
            ready=data["ready"] is True,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read ({error}); mend it, or remove its folder yourself"
        ) from error


def _elsewhere(root: Path) -> list[Path]:
    """The folders of installs that lie outside of `root`."""
    path = root / _ELSEWHERE
    try:
        return list(map(Path, json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); mend it, or remove it") from error


# ------------------------------------------------------------------------- changing


def install(
    root: Path,
    version: str = TESTED,
    *,
    source: str = checkouts.SOURCE,
    folder: Path | None = None,
    torch: Sequence[str] = TORCH,
    report: Report,
) -> Install:
    """Fetch a version and make all that it takes to start it; what is there already is kept.

    `source` is a git repository or its folder, `folder` a place of its own, else one in `root`.
    Raises UsageError, OutputError and InstallFailed; the same call goes on then.
    """
    with _alone(root):
        there = _there(root, version, folder)
        if there is None:
            there = _fetched(root, version, _whole(source), folder, tuple(torch), report)
        return there if there.ready else _complete(replace(there, torch=tuple(torch)), report)


def update(root: Path, old: Install, version: str = TESTED, *, report: Report) -> Install:
    """Bring an install to another version, newer or older, in its place.

    Where that fails it is brought back, and InstallFailed says why it failed.
    """
    with _alone(root):
        _refuse_in_use(old)
        report(f"looking for ComfyUI {version}", None)
        checkouts.fetch(old.folder)
        commit = checkouts.commit_of(version, old.folder)
        if commit == old.commit and old.ready:
            return old
        _mark(replace(old, ready=False))
        try:
            checkouts.check_out(commit, old.folder)
            number = checkouts.version_of(old.folder) or commit[:8]
            return _complete(replace(old, version=number, commit=commit), report)
        except SpriteworksError as error:
            raise InstallFailed(_taken_back(old, error, report)) from error


def remove(root: Path, gone: Install, *, force: bool = False) -> None:
    """Remove an install, and all that Spriteworks made for it.

    Raises UsageError where a server runs in it, or people put files of their own into it and it
    is not by `force`.
    """
    with _alone(root):
        _refuse_in_use(gone)
        own = [] if force else own_files(gone)
        if own:
            more = f" and {len(own) - 1} more" if len(own) > 1 else ""
            raise UsageError(
                f"{gone} has files of yours ({own[0]}{more}); take them out, or give --force"
            )
        # Of what has another name nobody thinks that it is whole.
        part = _part(gone.folder)
        try:
            gone.folder.rename(part)
        except OSError as error:
            raise OutputError(f"{gone.folder} cannot be removed: {error.strerror}") from error
        _delete(part)
        _note_elsewhere(root, [one for one in _elsewhere(root) if one != gone.folder])
    _tidy(root)


def own_files(there: Install) -> list[str]:
    """What people put into an install: models, inputs, results, workflows, other packs."""
    parts = [
        path.relative_to(there.folder).as_posix()
        for part in _OWN_PARTS
        for path in there.folder.glob(part)
    ]
    ours = f"custom_nodes/{SHIM_NAME}/"
    found = checkouts.foreign_files(there.folder, *parts) if parts else []
    return [name for name in found if not name.startswith(ours) and "__pycache__/" not in name]


def _there(root: Path, version: str, folder: Path | None) -> Install | None:
    """The install that is meant, where it is there, whole or not."""
    if folder is None:
        return next((one for one in listed(root) if one.matches(version)), None)
    there = _read(folder)
    if there is not None and not there.matches(version):
        raise UsageError(f"{there} is there; to change it: spriteworks comfyui update")
    if there is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there and was not made by Spriteworks; give another --dir")
    return there


def _fetched(
    root: Path,
    version: str,
    source: str,
    folder: Path | None,
    torch: tuple[str, ...],
    report: Report,
) -> Install:
    """A new install with its files and without an environment, or the one of the same commit."""
    part = _part(folder or root / "ComfyUI")
    _delete(part)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        report(f"fetching ComfyUI {version}", 0)
        checkouts.clone(source, part, lambda done: report(f"fetching ComfyUI {version}", done))
        commit = checkouts.commit_of(version, part)
        checkouts.check_out(commit, part)
        number = checkouts.version_of(part) or commit[:8]
        same = [one for one in listed(root) if one.commit == commit and folder is None]
        if same:
            return same[0]
        made = Install(
            folder=folder or _free(root, number, commit),
            version=number,
            commit=commit,
            source=source,
            torch=torch,
            ready=False,
        )
        _mark(replace(made, folder=part))
        if made.folder.exists():  # empty, as a person made it
            made.folder.rmdir()
        part.rename(made.folder)
    except OSError as error:
        raise OutputError(f"{error.filename} cannot be written: {error.strerror}") from error
    finally:
        _delete(part)
    if folder is not None and folder.parent != root:
        _note_elsewhere(root, [*_elsewhere(root), folder])
    return made


def _complete(there: Install, report: Report) -> Install:
    """Make what is missing of an install, by its mark. Raises InstallFailed and OutputError."""
    if checkouts.commit_at(there.folder) != there.commit:
        checkouts.check_out(there.commit, there.folder)
    refuse_without_space(there.folder, there.torch)
    doing = f"making the environment of ComfyUI {there.version}"
    report(doing, None)
    make_environment(there.folder, there.torch, lambda line: report(f"{doing}: {line}", None))
    add_pack(there.folder)
    whole = replace(there, ready=True)
    _mark(whole)
    return whole


def _taken_back(old: Install, error: SpriteworksError, report: Report) -> str:
    """Bring an install back to what it was; the sentence of the error that made it necessary."""
    report(f"going back to ComfyUI {old.version}", None)
    try:
        checkouts.check_out(old.commit, old.folder)
        _complete(old, report)
    except SpriteworksError as second:
        return f"{error}\nand it could not be brought back to {old.version}: {second}"
    return f"{old} is as it was, for the other version failed: {error}"


def _refuse_in_use(there: Install) -> None:
    users = users_of(there.folder)
    if users:
        raise UsageError(f"{there} is in use by process {users[0]}; stop that first")


# ------------------------------------------------------------------------- files


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold all installs against other commands that change some."""
    lock = FileLock(root / _LOCK)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"another command is changing what is in {root}; wait for it, or stop it"
        ) from error
    except OSError as error:
        raise OutputError(f"the folder {root} cannot be written: {error.strerror}") from error
    try:
        yield
    except BaseException:
        lock.release()
        _tidy(root)
        raise
    lock.release()


def _mark(there: Install) -> None:
    data = {name: value for name, value in there.to_json().items() if name != "folder"}
    _write(there.folder / MARK, data)


def _note_elsewhere(root: Path, places: Sequence[Path]) -> None:
    if places:
        _write(root / _ELSEWHERE, sorted(set(map(str, places))))
    else:
        (root / _ELSEWHERE).unlink(missing_ok=True)


def _write(path: Path, data: Any) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(data, indent=2), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _whole(source: str) -> str:
    """A source as it can be asked again from another folder."""
    place = Path(source).expanduser()
    return str(place.absolute()) if place.exists() else source


def _free(root: Path, number: str, commit: str) -> Path:
    """A new folder for a version; its own name may be that of an install that was updated."""
    names = (f"ComfyUI-{number}", f"ComfyUI-{number}-{commit[:8]}")
    found = next((root / name for name in names if not (root / name).exists()), None)
    if found is None:
        raise UsageError(f"{root / names[-1]} is there and is no install; take it away")
    return found


def _part(folder: Path) -> Path:
    """Where a folder is made, and what it is called while it is removed."""
    return folder.with_name(f".{folder.name}.spriteworks-part")


def _delete(folder: Path) -> None:
    if not folder.exists():
        return
    if os.name == "nt":
        # git writes its objects so that Windows lets nobody delete them.
        for path in folder.rglob("*"):
            with suppress(OSError):
                path.chmod(stat.S_IWRITE)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{error.filename} cannot be removed: {error.strerror}") from error


def _tidy(root: Path) -> None:
    """Remove the folder of installs, where it has none any more and nothing else."""
    with suppress(OSError):
        if {path.name for path in root.iterdir()} <= {_LOCK}:
            (root / _LOCK).unlink(missing_ok=True)
            root.rmdir()
            if root == _data(os.environ) / "comfyui":
                root.parent.rmdir()
