"""The compose file: well formed, complete, and safe as it comes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from orchestrator.cli import app

PODMAN_COMPOSE = "apt-get install podman, pip install podman-compose"
PROFILES = ("gpu", "cpu", "comfyui")
PASSWORDS = {"POSTGRES_PASSWORD": "abc1", "REDIS_PASSWORD": "abc2", "GRAFANA_PASSWORD": "abc3"}


@pytest.fixture
def compose(deploy: Path) -> dict[str, Any]:
    text = (deploy / "docker-compose.yml").read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(text)
    return read


@pytest.fixture
def resolved(deploy: Path, tool: Callable[..., str], tmp_path: Path) -> Callable[..., Any]:
    """`podman-compose config` with an env file of these lines; the exit status and what it said."""
    tool("podman", PODMAN_COMPOSE)
    program = tool("podman-compose", PODMAN_COMPOSE)

    def run(profile: str, **values: str) -> tuple[int, str]:
        env = tmp_path / "env"
        env.write_text("".join(f"{name}={value}\n" for name, value in values.items()), "utf-8")
        command = [program, "--env-file", env, "--profile", profile]
        done = subprocess.run(
            [*map(str, command), "-f", str(deploy / "docker-compose.yml"), "config"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout if done.returncode == 0 else done.stderr

    return run


def test_it_is_as_the_compose_specification_has_it(
    deploy: Path, tool: Callable[..., str], said: Callable[..., str]
) -> None:
    program = tool("check-jsonschema", "pip install check-jsonschema")
    said(program, "--builtin-schema", "vendor.compose-spec", deploy / "docker-compose.yml")


def test_yaml_is_clean(deploy: Path, tool: Callable[..., str], said: Callable[..., str]) -> None:
    options = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
    files = [*deploy.rglob("*.yml"), *Path(__file__).parent.glob("*.yml")]
    assert not said(tool("yamllint", "pip install yamllint"), "--strict", "-d", options, *files)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_whole(
    profile: str, resolved: Callable[..., Any], compose: dict[str, Any]
) -> None:
    status, told = resolved(profile, **PASSWORDS)
    assert status == 0, told
    services = yaml.safe_load(told)["services"]
    chosen = {
        name: one
        for name, one in services.items()
        if not one.get("profiles") or profile in one["profiles"]
    }
    assert any(name.startswith("worker-") for name in chosen)
    for name, one in chosen.items():
        for needed, how in one.get("depends_on", {}).items():
            assert needed in chosen, name
            assert how["condition"] == "service_healthy"
        # ours have a check in the image
        assert one.get("healthcheck") or one.get("build"), name
        assert one["restart"] == "unless-stopped"
        assert one["cap_drop"] == ["ALL"]
    place = chosen["service"]["environment"]
    assert place["SPRITEWORKS_DATABASE"] == "postgresql://spriteworks:abc1@database/spriteworks"
    assert place["SPRITEWORKS_BROKER"] == "redis://:abc2@broker/0"
    worker = next(one for name, one in chosen.items() if name.startswith("worker-"))
    assert worker["environment"] == place


@pytest.mark.parametrize("missing", PASSWORDS)
def test_nothing_starts_without_a_password(missing: str, resolved: Callable[..., Any]) -> None:
    status, told = resolved("cpu", **{**PASSWORDS, missing: ""})
    assert status
    assert "copy env.example to .env" in told


def test_gpus_are_asked_for_as_devices(compose: dict[str, Any]) -> None:
    with_gpus = {
        name: one["deploy"]["resources"]["reservations"]["devices"]
        for name, one in compose["services"].items()
        if "deploy" in one
    }
    assert set(with_gpus) == {"worker-gpu", "comfyui"}
    for ((device),) in with_gpus.values():
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_it_is_published_on_this_machine_only(resolved: Callable[..., Any]) -> None:
    services = yaml.safe_load(resolved("comfyui", **PASSWORDS)[1])["services"]
    published = {name: port for name, one in services.items() for port in one.get("ports", [])}
    assert set(published) == {"service", "database", "broker", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in published.values())


def test_the_example_names_every_variable(deploy: Path) -> None:
    asked = set(
        re.findall(
            r"(?<!\$)\$\{([A-Z_]+)", (deploy / "docker-compose.yml").read_text(encoding="utf-8")
        )
    )
    example = (deploy / "env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    handed_on = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"}
    assert named == asked | handed_on
    # and has no secret itself
    assert set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE)) == set(PASSWORDS)


def test_git_never_takes_the_passwords(deploy: Path) -> None:
    if shutil.which("git") is None or not (deploy.parents[1] / ".git").exists():
        pytest.skip("this is no git repository")
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", str(deploy / ".env")], cwd=deploy, check=False
    )
    assert ignored.returncode == 0


@pytest.fixture
def broker(compose: dict[str, Any], tool: Callable[..., str]) -> Iterator[Callable[..., str]]:
    """A real Redis, started as the compose file does; what redis-cli says to a command."""
    tool("redis-server", "apt-get install redis-server")
    client = tool("redis-cli", "apt-get install redis-tools")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shell, option, script = compose["services"]["broker"]["command"]
    script = script.replace("$$", "$").replace("<<END\n", f"<<END\nbind 127.0.0.1\nport {port}\n")
    env = {**os.environ, "REDIS_PASSWORD": "abc"}
    process = subprocess.Popen([shell, option, script], env=env, stdout=subprocess.DEVNULL)

    def ask(*command: str, password: str = "abc") -> str:
        told = {**os.environ, "REDISCLI_AUTH": password}
        return subprocess.run(
            [client, "-p", str(port), *command],
            env=told,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    try:
        late = time.monotonic() + 60
        while "PONG" not in ask("ping"):
            assert process.poll() is None
            assert time.monotonic() < late
            time.sleep(0.1)
        yield ask
    finally:
        # `exec` made the shell Redis itself, so that a stop of the container reaches it
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.skipif(os.name == "nt", reason="a shell script for a container")
def test_the_broker_keeps_nothing_and_drops_nothing(broker: Callable[..., str]) -> None:
    def setting(name: str) -> str:
        return broker("config", "get", name).splitlines()[1]

    assert setting("maxmemory-policy") == "noeviction"
    assert setting("maxmemory") == str(256 * 1024**2)
    assert (setting("save"), setting("appendonly")) == ("", "no")
    assert "NOAUTH" in broker("ping", password="")


def test_its_commands_are_those_of_spriteworks(resolved: Callable[..., Any]) -> None:
    group = typer.main.get_command(app)
    tried = set()
    for profile in PROFILES:
        for name, one in yaml.safe_load(resolved(profile, **PASSWORDS)[1])["services"].items():
            if one.get("image", "").startswith("spriteworks:") and "command" in one:
                verb, *options = one["command"]
                # raises for an option or a value that there is not
                group.commands[verb].make_context(verb, options)
                tried.add(name)
    assert tried == {"service", "worker-gpu", "worker-cpu", "worker-comfyui"}
