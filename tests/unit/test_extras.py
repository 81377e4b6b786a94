"""A missing extra is told with the line that installs it, from where Spriteworks came."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import extras
from orchestrator.errors import UsageError
from orchestrator.testing import FakeServer

WHEEL = "file:///home/me/spriteworks-0.1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (None, '"spriteworks[engine]"'),
        ({"url": WHEEL, "archive_info": {}}, f'"spriteworks[engine] @ {WHEEL}"'),
        ({"url": "file:///a%20b/sw", "dir_info": {}}, '"/a b/sw[engine]"'),
        ({"url": "file:///sw", "dir_info": {"editable": True}}, '-e "/sw[engine]"'),
        (
            {"url": "https://host/sw.git", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}},
            '"spriteworks[engine] @ git+https://host/sw.git@0a1b"',
        ),
    ],
)
def test_the_line_installs_from_where_it_came(
    origin: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "_origin", lambda: origin)
    monkeypatch.setattr(sys, "executable", "/env/bin/python")
    if sys.platform == "win32":
        words = words.replace("/a b/sw", "\\a b\\sw").replace('"/sw', '"\\sw')
    assert extras.install_line("engine") == f"/env/bin/python -m pip install {words}"


def test_a_checkout_is_named_where_nothing_is_installed(
    monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.setattr(extras, "_NAME", "no-such-distribution")
    assert f'-e "{repository}[engine]"' in extras.install_line("engine")


def test_a_python_with_a_space_in_its_path_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/my env/bin/python")
    assert extras.install_line("s3").startswith('"/my env/bin/python" -m pip install ')


def test_only_what_others_made_is_an_extra() -> None:
    with (
        pytest.raises(UsageError, match=r"the robot needs no_such_module, .*\[engine\]"),
        extras.needed("engine", "the robot"),
    ):
        import no_such_module  # noqa: F401
    with pytest.raises(ModuleNotFoundError), extras.needed("engine", "the robot"):
        import orchestrator.no_such_module  # noqa: F401


def without(modules: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a Python that has no such modules."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[1].split()));"
        "sys.argv[1:] = sys.argv[2:]; from orchestrator.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, modules, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def sentence(process: subprocess.CompletedProcess[str]) -> str:
    """The last line on standard error."""
    return process.stderr.strip().splitlines()[-1]


def test_without_an_extra_the_command_says_the_one_line() -> None:
    process = without("typer", "--help")
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.count("\n") == 1
    assert sentence(process).startswith("error: the command needs typer, which is not installed: ")
    assert "[orchestrator]" in sentence(process)


def test_the_engine_and_the_service_name_their_extras(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = without("torch", "run", "sprite", "--out", str(out))
    assert process.returncode == 2
    assert "the engine needs torch" in sentence(process)
    assert "[engine]" in sentence(process)
    assert not out.exists()
    process = without("uvicorn fastapi", "serve", "--data", str(out))
    assert process.returncode == 2
    assert "[service]" in sentence(process)
    assert not out.exists()
    broker = ("--no-servers", "--broker", "redis://127.0.0.1:1/0")
    process = without("celery", "serve", "--data", str(out), *broker)
    assert process.returncode == 2
    assert "--broker needs " in sentence(process)
    assert "[worker]" in sentence(process)
    assert not out.exists()


# What the extra `orchestrator` does not bring, of all that the others do.
NOT_BROUGHT = (
    "torch diffusers transformers safetensors torchsde av fastapi starlette uvicorn "
    "python_multipart blake3 fsspec psycopg"
)


def test_the_orchestrator_alone_submits_and_finishes(tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(
        '{"1": {"class_type": "EmptyImage", "inputs":'
        ' {"width": 8, "height": 8, "batch_size": 1, "color": 255}},'
        ' "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0],'
        ' "filename_prefix": "blue"}}}'
    )
    out = tmp_path / "out"
    with FakeServer() as fake:
        process = without(NOT_BROUGHT, "run", str(graph), "--server", fake.url, "--out", str(out))
    assert process.returncode == 0, process.stderr
    assert len(list(out.glob("*.png"))) == 1
    for command in ("snap", "inspect", "cutout"):
        more = [] if command == "inspect" else ["--out", str(tmp_path / command)]
        process = without(NOT_BROUGHT, command, str(out), *more)
        assert "not installed" not in process.stderr, process.stderr
        assert "fault of Spriteworks" not in process.stderr, process.stderr
