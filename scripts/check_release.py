"""Says whether a tag may be published: it is the version's, and the changelog knows it.

python scripts/check_release.py v0.2.0

On GitHub also whether pyproject.toml names the repository that publishes.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    problem = problem_with(arguments[0])
    if problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{arguments[0]} may be published.")
    return 0


def problem_with(tag: str) -> str | None:
    """What keeps a tag from being published, as a sentence; None where nothing does."""
    if tag != f"v{version()}":
        return (
            f"The tag is {tag} and the version is {version()}: "
            "set the one of orchestrator/version.py first, then tag that commit v and the version."
        )
    if version() not in released():
        return f"CHANGELOG.md has no section [{version()}]: name its changes first, then tag."
    here = os.environ.get("GITHUB_REPOSITORY")
    if here and f'Repository = "https://github.com/{here}"' not in project():
        return f"pyproject.toml names another repository than {here}: mend [project.urls] and Icon."
    return None


def project() -> str:
    # 3.10 has no tomllib
    return (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")


def version() -> str:
    # read, not imported: the package needs what it depends on
    text = (REPOSITORY / "orchestrator" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found
    return found[1]


def released() -> list[str]:
    """The versions that CHANGELOG.md has a section for, newest first."""
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## \[(\d[^\]]*)\]", text, re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
