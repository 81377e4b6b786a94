"""Says whether a tag may be published: it is the version's, and the changelog knows it.

python scripts/check_release.py v0.2.0
"""

from __future__ import annotations

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
    return None


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
