"""Memory of real processes, and what control groups leave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from orchestrator.local import footprint

MIB = 1 << 20
# A process whose child holds 64 MiB; both say when they are ready.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE)
sys.stdin.read()
child.communicate()
"""
CHILD = "import sys; held = b'x' * (64 << 20); print('ready', flush=True); sys.stdin.read()"


def test_what_descendants_hold_counts() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        alone = int(psutil.Process(process.pid).memory_info().rss)
        assert footprint.resident(process.pid) > alone + 64 * MIB
        process.communicate()
    assert footprint.resident(process.pid) == 0


def group(folder: Path, limit: str, used: int, cache: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n", encoding="ascii")
    (folder / "memory.current").write_text(f"{used}\n", encoding="ascii")
    stat = f"anon 1\ninactive_file {cache}\nfile 9\n"
    (folder / "memory.stat").write_text(stat, encoding="ascii")


def test_groups_above_the_own_one_count_and_files_in_memory_do_not(tmp_path: Path) -> None:
    groups, own = tmp_path / "cgroup", tmp_path / "own"
    group(groups / "a.slice" / "b.service", "max", 5)
    group(groups / "a.slice", str(100 * MIB), 90 * MIB, cache=20 * MIB)
    groups.joinpath("memory.stat").write_text("inactive_file 1\n", encoding="ascii")
    own.write_text("1:cpu:/x\n0::/a.slice/b.service\n", encoding="utf-8")
    assert footprint._left_in_groups(groups, own) == [30 * MIB]


def test_a_group_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    groups, own = tmp_path / "cgroup", tmp_path / "own"
    group(groups, str(100 * MIB), 130 * MIB)
    own.write_text("0::/\n", encoding="utf-8")
    assert footprint._left_in_groups(groups, own) == [0]


def test_without_groups_the_machine_counts(tmp_path: Path) -> None:
    assert footprint._left_in_groups(tmp_path, tmp_path / "nothing") == []
    assert 0 < footprint.room() <= psutil.virtual_memory().total
