"""scripts/try-comfyui: versions found in a git repository, pytest's report read, the table."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tiny_comfyui

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from orchestrator.errors import InstallFailed, UsageError  # noqa: E402
from orchestrator.local.checkouts import version_of  # noqa: E402
from scripts import try_comfyui  # noqa: E402
from scripts.try_comfyui import BEGIN, END, TrialFailed, VersionResult  # noqa: E402


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Two versions, each followed by a commit that changes something else."""
    return tiny_comfyui.repository(tmp_path / "a mirror", "0.9.0", "0.10.0")


def test_a_version_is_the_first_commit_that_says_so(mirror: Path, tmp_path: Path) -> None:
    place = tmp_path / "into" / "ComfyUI-0.10.0"
    try_comfyui.check_out("0.10.0", str(mirror), place)
    assert version_of(place) == "0.10.0"
    assert (place / "notes.txt").read_text(encoding="utf-8") == "0.9.0"


def test_a_tag_comes_before_the_history(mirror: Path, tmp_path: Path) -> None:
    tiny_comfyui.git(mirror, "tag", "v0.10.0")
    place = tmp_path / "into"
    try_comfyui.check_out("0.10.0", str(mirror), place)
    assert (place / "notes.txt").read_text(encoding="utf-8") == "0.10.0"


def test_a_version_that_is_not_there_is_one_sentence(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no ComfyUI 7\.0\.0 in that repository"):
        try_comfyui.check_out("7.0.0", str(mirror), tmp_path / "into")


def test_no_repository_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match="cannot be fetched"):
        try_comfyui.check_out("0.9.0", str(tmp_path / "none"), tmp_path / "into")


CASES = {
    "one": "",
    "two": '<failure message="x">y</failure>',
    "three": '<skipped message="its noise differs"/>',
    "four": '<skipped message="its noise differs"/>',
    "five": '<skipped message="only with -m slow"/>',
}
REPORT = "".join(
    f'<testcase classname="tests.contract.test_a" name="{name}">{inside}</testcase>'
    for name, inside in CASES.items()
)


def test_a_report_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    suite = f'<testsuites><testsuite name="pytest" time="12.6">{REPORT}</testsuite></testsuites>'
    path.write_text(suite, encoding="utf-8")
    assert try_comfyui.read_report(path, "0.9.0", "abc", "1.2.3") == VersionResult(
        "0.9.0", "abc", "1.2.3", 1, ["test_a::two"], {"its noise differs": 2}, 13
    )


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "versions.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    results = [
        VersionResult("0.9.0", "abc", "1.1", 5, [], {"its noise differs": 2}),
        VersionResult("0.10.0", "def", "1.2", 7, ["test_a::two"]),
    ]
    try_comfyui.write_table(page, results)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert text.index("| 0.10.0 | def | 1.2 | 7 | 1 | 0 |") < text.index("| 0.9.0 | abc | 1.1 |")
    assert "- failed: `test_a::two`" in text
    assert "- 2 skipped: its noise differs" in text


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "versions.md"
    page.write_text("mine", encoding="utf-8")
    with pytest.raises(TrialFailed, match="to write between"):
        try_comfyui.write_table(page, [])
    assert page.read_text(encoding="utf-8") == "mine"
