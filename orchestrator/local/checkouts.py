"""A checkout of ComfyUI: fetched by git, and its versions found."""

from __future__ import annotations

import re
import shutil
from bisect import bisect
from collections.abc import Callable
from pathlib import Path

from ..errors import InstallFailed, UsageError
from .programs import Ended, call

VERSION_FILE = "comfyui_version.py"
# ComfyUI's own repository
SOURCE = "https://github.com/Comfy-Org/ComfyUI.git"

_VERSION = re.compile(r'__version__ = "([^"]+)"')
_PERCENT = re.compile(r"Receiving objects: +(\d+)%")
# s; the whole history of ComfyUI is some 100 MB
_FETCHING, _LOOKING = 3600.0, 300.0
# How many versions an error names.
_NEAREST = 6


def clone(source: str, folder: Path, fetched: Callable[[int], None] | None = None) -> None:
    """Clone a repository, without checking anything out; `fetched` hears percents.

    Raises InstallFailed, and UsageError where there is no git.
    """

    def told(line: str) -> None:
        found = _PERCENT.match(line)
        if found and fetched is not None:
            fetched(int(found[1]))

    done = _run("clone", "--progress", "--no-checkout", "--", source, str(folder), told=told)
    if done.code:
        raise InstallFailed(f"ComfyUI cannot be fetched from {source}: {_reason(done)}")


def fetch(folder: Path) -> None:
    """Bring what is new in the repository that a checkout came from. Raises InstallFailed."""
    done = _run("fetch", "--quiet", "--tags", "--force", "origin", at=folder)
    if done.code:
        raise InstallFailed(f"what is new cannot be fetched into {folder}: {_reason(done)}")


def check_out(commit: str, folder: Path) -> None:
    """Put the files of a commit into the folder. Raises InstallFailed."""
    done = _run("checkout", "--quiet", "--detach", commit, at=folder)
    # A mirror may lack large files that few models need (tokenizers): git says so and checks the
    # others out. What stands in the way of a checkout leaves the commit as it was.
    if commit_at(folder) != commit or not (folder / "main.py").is_file():
        raise InstallFailed(f"git cannot check {commit[:8]} out into {folder}: {_reason(done)}")


def commit_at(folder: Path) -> str:
    """The commit that is checked out; "" where there is none."""
    done = _run("rev-parse", "--verify", "--quiet", "HEAD", at=folder)
    return done.said.strip() if done.code == 0 else ""


def commit_of(version: str, folder: Path) -> str:
    """The commit of a tag, a commit, or a number as 0.33.0; that one need not be a tag.

    A number is looked for among the tags, then in the history of the file that says it, whose first
    commit with it counts: mirrors may have no tags. Raises UsageError, which names the nearest.
    """
    for name in (f"refs/tags/v{version}", f"refs/tags/{version}", version):
        done = _run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", at=folder)
        if done.code == 0:
            return done.said.strip()
    history = _history(folder)
    if version in history:
        return history[version]
    tags = _run("tag", "--list", "v*", at=folder).said.split()
    known = sorted({*history, *(tag[1:] for tag in tags)}, key=order)
    raise UsageError(f"there is no ComfyUI {version} in that repository{_near(version, known)}")


def version_of(folder: Path) -> str | None:
    """What the checkout in a folder calls itself."""
    path = folder / VERSION_FILE
    return _version_in(path.read_text(encoding="utf-8")) if path.is_file() else None


def foreign_files(folder: Path, *parts: str) -> list[str]:
    """The files in these parts of a checkout that are not ComfyUI's own, sorted."""
    done = _run("ls-files", "--others", "-z", "--", *parts, at=folder)
    if done.code:
        raise InstallFailed(f"git cannot say what is in {folder}: {_reason(done)}")
    return sorted(filter(None, done.said.split("\0")))


def order(version: str) -> tuple[int, ...]:
    """What versions are sorted by: their numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _history(folder: Path) -> dict[str, str]:
    """The first commit of each version, by what the file of versions has said."""
    # A clone of a repository that has no branch checked out has no such name.
    head = _run("rev-parse", "--verify", "--quiet", "origin/HEAD", at=folder)
    where = "origin/HEAD" if head.code == 0 else "--all"
    log = _run("log", "--format=%H", "--reverse", where, "--", VERSION_FILE, at=folder)
    found: dict[str, str] = {}
    for commit in log.said.split():
        text = _run("show", f"{commit}:{VERSION_FILE}", at=folder)
        version = _version_in(text.said) if text.code == 0 else None
        if version is not None:
            found.setdefault(version, commit)
    return found


def _near(version: str, known: list[str]) -> str:
    if not known:
        return ", which is none of ComfyUI; name one with --from"
    place = bisect([order(one) for one in known], order(version))
    first = max(0, min(place - _NEAREST // 2, len(known) - _NEAREST))
    return f"; the nearest are {', '.join(known[first : first + _NEAREST])}"


def _version_in(text: str) -> str | None:
    found = _VERSION.search(text)
    return found[1] if found else None


def _run(
    *arguments: str, at: Path | None = None, told: Callable[[str], None] | None = None
) -> Ended:
    git = shutil.which("git")
    if git is None:
        raise UsageError("ComfyUI is fetched by git, which is not installed; install git")
    # What git would tidy up behind our back would be in the way of who removes the folder.
    place = ["-c", "gc.auto=0", "-c", "maintenance.auto=false"]
    if at is not None:
        # Named, so that git does not take a repository that the folder lies in for its own.
        place += ["-C", str(at), "--git-dir=.git", "--work-tree=."]
    far = arguments[0] in ("clone", "fetch")
    return call([git, *place, *arguments], seconds=_FETCHING if far else _LOOKING, told=told)


def _reason(done: Ended) -> str:
    """The line in which git says what is wrong."""
    lines = [line.strip() for line in done.said.splitlines() if line.strip()]
    blamed = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (blamed or lines or ["git said nothing"])[-1]
