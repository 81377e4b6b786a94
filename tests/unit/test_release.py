"""What is published is what the tag, the version and the changelog say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import orchestrator

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts import check_release  # noqa: E402


def test_the_changelog_starts_with_the_version() -> None:
    assert check_release.version() == orchestrator.__version__
    assert check_release.released()[0] == orchestrator.__version__
    assert check_release.problem_with(f"v{orchestrator.__version__}") is None


def test_a_tag_of_another_version_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for tag in ("v9.9.9", orchestrator.__version__, "main"):
        assert check_release.main([tag]) == 1
    assert f"the version is {orchestrator.__version__}" in capsys.readouterr().err


def test_a_version_without_changes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_release, "version", lambda: "9.9.9")
    problem = check_release.problem_with("v9.9.9")
    assert problem is not None
    assert "no section [9.9.9]" in problem


def test_a_repository_that_the_project_does_not_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tag = f"v{orchestrator.__version__}"
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/else")
    assert "another repository than somebody/else" in (check_release.problem_with(tag) or "")
    monkeypatch.setenv("GITHUB_REPOSITORY", "spriteworks/spriteworks")
    assert check_release.problem_with(tag) is None


@pytest.mark.parametrize("package", ["comfy_nodes", "orchestrator"])
def test_the_packages_say_that_they_have_types(package: str) -> None:
    assert (REPOSITORY / package / "py.typed").is_file()
