"""docs/cli.md and docs/protocol.md say what the code does, or these tests fail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main

from orchestrator.cli import app
from orchestrator.client.wire import Timeouts
from orchestrator.engine.__main__ import _parser
from orchestrator.errors import SpriteworksError
from orchestrator.testing import Fault
from orchestrator.testing.hostile import Kind


def leaves(command: Any, name: str = "") -> dict[str, Any]:
    """Every command that does something, by its full name: {"run": ..., "batch plan": ...}."""
    if not hasattr(command, "commands"):
        return {name: command}
    found: dict[str, Any] = {}
    for part, sub in command.commands.items():
        found |= leaves(sub, f"{name} {part}".strip())
    return found


COMMANDS = leaves(typer.main.get_command(app))


@pytest.fixture(scope="module")
def cli_page(repository: Path) -> str:
    return (repository / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def protocol_page(repository: Path) -> str:
    return (repository / "docs" / "protocol.md").read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    match = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert match, f"docs/cli.md has no section {name!r}"
    return match.group(1)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_section_with_an_example(cli_page: str, name: str) -> None:
    top = name.split()[0]
    assert f"spriteworks {name}" in section(cli_page, top)
    assert f"[`{top}`](#{top})" in cli_page


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_in_its_section(cli_page: str, name: str) -> None:
    text = section(cli_page, name.split()[0])
    options = [one for one in COMMANDS[name].params if one.param_type_name == "option"]
    missing = [option.opts[0] for option in options if f"`{option.opts[0]}" not in text]
    assert missing == []


def test_no_option_is_documented_that_is_not_there(cli_page: str) -> None:
    known = {opt for command in COMMANDS.values() for one in command.params for opt in one.opts}
    # the engine's own parser has its options
    known |= {opt for action in _parser()._actions for opt in action.option_strings}
    known |= {"--version", "--cpu"}
    assert set(re.findall(r"--[a-z]+(?:-[a-z]+)*", cli_page)) <= known


def test_every_help_has_an_example() -> None:
    for name, command in COMMANDS.items():
        assert f"Example: spriteworks {name}" in command.epilog


def test_every_exit_code_is_documented(cli_page: str) -> None:
    def codes(cls: type[SpriteworksError]) -> set[int]:
        return {cls.exit_code}.union(*(codes(sub) for sub in cls.__subclasses__()))

    table = section(cli_page, "Errors")
    for code in codes(SpriteworksError):
        assert re.search(rf"^\| (\d+, )?{code}\b", table, re.MULTILINE), code


def test_every_timeout_and_fault_is_documented(protocol_page: str) -> None:
    for name in Timeouts.__dataclass_fields__:
        assert f"| `{name}` |" in protocol_page
    for fault in Fault:
        assert f"`{fault.name}`" in protocol_page


def test_every_pitfall_has_its_test(repository: Path, protocol_page: str) -> None:
    tests = repository / "tests" / "unit" / "test_client_pitfalls.py"
    source = tests.read_text(encoding="utf-8")
    numbers = re.findall(r"^(\d+)\. \*\*", protocol_page, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 11)]
    for number in numbers:
        assert f"def test_pitfall_{int(number):02}_" in source


def test_the_examples_of_the_fake_server_run(protocol_page: str) -> None:
    examples = re.findall(r"```python\n(.*?)```", protocol_page, re.DOTALL)
    assert len(examples) == 2
    for code in examples:
        exec(compile(code, "docs/protocol.md", "exec"), {})


def test_every_kind_of_attack_is_documented(protocol_page: str) -> None:
    for kind in get_args(Kind):
        assert f"| `{kind}` |" in protocol_page
