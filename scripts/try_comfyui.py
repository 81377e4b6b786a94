"""Runs the contract suite on several versions of ComfyUI and writes the table of what passed.

    scripts/try-comfyui 0.33.0 0.28.0 0.3.64
    scripts/try-comfyui 0.33.0 --source ~/mirrors/ComfyUI --table docs/comfyui-versions.md

Each version is checked out from the git repository or folder SOURCE into INTO/ComfyUI-VERSION, with
a .venv of its own; what is there already is used as it is, and what was left unfinished is gone on
with. INTO/ComfyUI is taken for a version too, where it is that one. Results are kept in
INTO/results.json after each version, and only those of other versions stay: --table writes all of
them between two marks of a Markdown page. The exit status is 1 where a test failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from orchestrator.errors import SpriteworksError  # noqa: E402
from orchestrator.local import checkouts  # noqa: E402
from orchestrator.local.checkouts import (  # noqa: E402
    SOURCE,
    clone,
    commit_at,
    commit_of,
    order,
    version_of,
)
from orchestrator.local.environments import (  # noqa: E402
    TORCH,
    environment_python,
    make_environment,
)

BEGIN, END = "<!-- tested versions: begin -->", "<!-- tested versions: end -->"
# A test that is left out by a mark says nothing of the version.
BY_MARK = re.compile(r"only with -m ")


class TrialFailed(Exception):
    """One sentence for the person who called."""


@dataclass(frozen=True)
class VersionResult:
    """How the suite ended on one version; `skips` counts tests by the reason that they gave."""

    version: str
    commit: str
    frontend: str
    passed: int
    failed: list[str]
    skips: dict[str, int] = field(default_factory=dict)
    seconds: int = 0


def main() -> int:
    options = _options()
    options.into.mkdir(parents=True, exist_ok=True)
    record = options.into / "results.json"
    results = _read(record)
    try:
        for version in options.versions:
            folder = prepare(version, options.source, options.into, options.torch)
            results[version] = run_suite(version, folder, options.tests)
            record.write_text(
                json.dumps([asdict(one) for one in results.values()], indent=2), encoding="utf-8"
            )
            print(_line(results[version]), flush=True)
        if options.table:
            write_table(options.table, list(results.values()))
    except (TrialFailed, SpriteworksError) as error:
        print(f"try-comfyui: {error}", file=sys.stderr)
        return 2
    return 1 if any(results[version].failed for version in options.versions) else 0


def prepare(version: str, source: str, into: Path, torch: Sequence[str]) -> Path:
    """The folder of that version, with an environment; what is missing of both is made."""
    default = into / "ComfyUI"
    folder = default if version_of(default) == version else into / f"ComfyUI-{version}"
    if version_of(folder) != version:
        check_out(version, source, folder)
    done = folder / ".venv" / "spriteworks-ready"
    python = environment_python(folder)
    if not done.is_file() and not (folder == default and python.is_file()):
        print(f"Making the environment of ComfyUI {version} ...", flush=True)
        make_environment(folder, torch, lambda line: print(f"  {line}", flush=True))
        done.write_text("\n".join(torch), encoding="utf-8")
    return folder


def check_out(version: str, source: str, folder: Path) -> None:
    """The files of that version in SOURCE, in a folder; what was there before is gone."""
    print(f"Fetching ComfyUI {version} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    clone(source, folder)
    checkouts.check_out(commit_of(version, folder), folder)


def run_suite(version: str, folder: Path, tests: Sequence[str]) -> VersionResult:
    """The suite on that version, whose output goes to the screen."""
    print(f"== ComfyUI {version}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rfE", f"--junitxml={report}", *tests],
            cwd=REPOSITORY,
            env={**os.environ, "COMFYUI_PATH": str(folder)},
            check=False,
        )
        if not report.is_file():
            raise TrialFailed("pytest ended without a report; see above.")
        return read_report(report, version, commit_at(folder)[:8] or "no git", frontend_of(folder))


def read_report(path: Path, version: str, commit: str, frontend: str) -> VersionResult:
    """A result from pytest's report in JUnit's format."""
    suite = ElementTree.parse(path).getroot().find("testsuite")
    if suite is None:
        raise TrialFailed(f"{path.name} is no report of pytest's.")
    passed, failed, skips = 0, [], Counter[str]()
    for case in suite.iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname', '').rsplit('.', 1)[-1]}::{case.get('name')}")
        elif skipped is None:
            passed += 1
        elif not BY_MARK.match(skipped.get("message", "")):
            skips[skipped.get("message", "without a reason")] += 1
    seconds = round(float(suite.get("time", 0)))
    return VersionResult(version, commit, frontend, passed, failed, dict(skips), seconds)


def frontend_of(folder: Path) -> str:
    """The version of the frontend that its requirements name."""
    path = folder / "requirements.txt"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(r"comfyui-frontend-package==(\S+)", text)
    return found[1] if found else "not named"


def write_table(page: Path, results: Sequence[VersionResult]) -> None:
    """Puts the table between the two marks of a page. Raises Failed where they are not there."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if BEGIN not in text or END not in text:
        raise TrialFailed(f"{page} has no lines {BEGIN} and {END} to write between.")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    page.write_text(f"{before}{BEGIN}\n\n{table(results)}\n\n{END}{after}", encoding="utf-8")


def table(results: Sequence[VersionResult]) -> str:
    """Markdown: a row for each version, newest first, and every skip with its reason."""
    ordered = sorted(results, key=lambda one: order(one.version), reverse=True)
    lines = [
        "| ComfyUI | commit | frontend | passed | failed | skipped |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.version} | {one.commit} | {one.frontend} | {one.passed} | {len(one.failed)} "
        f"| {sum(one.skips.values())} |"
        for one in ordered
    ]
    for one in ordered:
        if one.failed or one.skips:
            lines += ["", f"{one.version}:", ""]
            lines += [f"- failed: `{name}`" for name in one.failed]
            lines += [f"- {count} skipped: {reason}" for reason, count in one.skips.items()]
    return "\n".join(lines)


def _line(result: VersionResult) -> str:
    return (
        f"ComfyUI {result.version}: {result.passed} passed, {len(result.failed)} failed, "
        f"{sum(result.skips.values())} skipped in {result.seconds} s"
    )


def _read(record: Path) -> dict[str, VersionResult]:
    if not record.is_file():
        return {}
    rows: list[Mapping[str, object]] = json.loads(record.read_text(encoding="utf-8"))
    return {str(row["version"]): VersionResult(**row) for row in rows}  # type: ignore[arg-type]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="+", metavar="VERSION", help="as 0.33.0")
    parser.add_argument("--source", default=SOURCE, help=f"git repository or folder ({SOURCE})")
    parser.add_argument("--into", type=Path, default=Path.home() / "comfy", metavar="DIR")
    parser.add_argument("--torch", nargs="+", default=list(TORCH), metavar="REQUIREMENT")
    parser.add_argument("--tests", nargs="+", default=["tests/contract"], metavar="PATH")
    parser.add_argument("--table", type=Path, metavar="PAGE", help="a Markdown page to write to")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
