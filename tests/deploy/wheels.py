"""Wheels of this checkout for tests of deploy.sh: as it is, broken, with other tables.

python tests/deploy/wheels.py FOLDER
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent

_MIGRATION = '''"""One more table, for tests of deploy.sh."""

from alembic import op
import sqlalchemy as sa

revision = "{after}"
down_revision = "{before}"


def upgrade() -> None:
    """Add a table."""
    op.create_table("for_tests", sa.Column("id", sa.Integer, primary_key=True))
'''


def build(folder: Path) -> Path:
    """The wheel of this checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(REPOSITORY)], check=True)
    wheel = next(folder.glob("*.whl"))
    return variant(wheel, wheel.name.split("-")[1], without_models)


def variant(wheel: Path, version: str, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The wheel of another version, with what `change` does to its files."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    told = files["orchestrator/version.py"]
    files["orchestrator/version.py"] = re.sub(rb'".*"', f'"{version}"'.encode(), told)
    change(files)
    old = wheel.name.split("-")[1]
    path = wheel.with_name(wheel.name.replace(f"-{old}-", f"-{version}-"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            if name.endswith(".dist-info/METADATA"):
                content = re.sub(rb"(?m)^Version: .*$", b"Version: " + version.encode(), content)
            archive.writestr(name.replace(f"-{old}.dist-info", f"-{version}.dist-info"), content)
    return path


def without_models(files: dict[str, bytes]) -> None:
    """It installs in a moment."""
    for name in [name for name in files if name.startswith("comfy_nodes/model_files/")]:
        del files[name]


def broken(files: dict[str, bytes]) -> None:
    """It says its version, and does not serve."""
    files["orchestrator/service/serving.py"] += b"\n\nraise RuntimeError('broken on purpose')\n"


def with_broken_workers(files: dict[str, bytes]) -> None:
    """It serves, and no worker starts."""
    files["orchestrator/service/workers/running.py"] += b"\n\nraise RuntimeError('on purpose')\n"


def with_other_tables(files: dict[str, bytes]) -> None:
    """Its record is of the next version."""
    tables = "orchestrator/batch/execution/store/tables.py"
    before = int(re.search(rb"(?m)^VERSION = (\d+)$", files[tables])[1])  # type: ignore[index]
    files[tables] = files[tables].replace(
        f"VERSION = {before}\n".encode(), f"VERSION = {before + 1}\n".encode()
    )
    name = f"orchestrator/batch/execution/store/migrations/m{before + 1}_for_tests.py"
    files[name] = _MIGRATION.format(before=before, after=before + 1).encode()


def broken_with_other_tables(files: dict[str, bytes]) -> None:
    """It changes the tables, and does not serve."""
    with_other_tables(files)
    broken(files)


def main(folder: Path) -> None:
    """Write all of them."""
    wheel = build(folder)
    variant(wheel, "7.0", broken)
    variant(wheel, "8.0", broken_with_other_tables)
    variant(wheel, "9.0", with_other_tables)
    variant(wheel, "6.0", with_broken_workers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
