"""`spriteworks models` as a process, with the real huggingface_hub and a hub on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.loras import LORAS
from comfy_nodes.models import SD15, SDXL_INPAINT, VERSIONS

HALF_UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
PIECE = 10 * 2**20  # what huggingface_hub hands on at once


@pytest.fixture
def hub(imitation: Any) -> Iterator[Any]:
    held = imitation.Hub()
    held.repositories[SD15.hub_id] = imitation.repository(200_000, unet=6 * PIECE)
    held.repositories[SDXL_INPAINT.hub_id] = imitation.repository(100_000, encoders=2)
    with imitation.serving(held):
        yield held


class Cli:
    """The command with an environment of its own."""

    def __init__(self, home: Path, endpoint: str) -> None:
        names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN")
        self.env = {key: value for key, value in os.environ.items() if key not in names}
        self.env |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint}

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "orchestrator", "models", *map(str, arguments)]

    def __call__(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env={**self.env, **env},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )


@pytest.fixture
def cli(hub: Any, tmp_path: Path) -> Cli:
    return Cli(tmp_path / "hf", hub.url)


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one sentence of a command that failed with that exit code."""
    assert done.returncode == code, done.stderr
    assert not done.stdout
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.stderr
    return sentence


def test_pull_path_verify_list(cli: Cli, hub: Any, tmp_path: Path) -> None:
    done = cli("pull", "v1-5", "--models", tmp_path)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder == tmp_path / "diffusers" / "sd15"
    assert f"downloading {HALF_UNET}" in done.stderr
    assert cli("path", "sd 1.5", "--models", tmp_path).stdout.strip() == str(folder)
    verified = json.loads(cli("verify", "sd15", "--models", tmp_path, "--json").stdout)
    assert verified["against"] == "download"
    assert set(verified["files"].values()) == {"right"}
    rows = json.loads(cli("list", "--models", tmp_path, "--json").stdout)["models"]
    assert [row["name"] for row in rows] == [version.key for version in VERSIONS]
    assert [row["path"] for row in rows if row["path"]] == [str(folder)]
    # Found again offline, with nobody asked.
    hub.log.clear()
    found = cli("path", "sd15", "--models", tmp_path, HF_HUB_OFFLINE="1")
    assert found.stdout.strip() == str(folder)
    assert cli("verify", "sd15", "--models", tmp_path, HF_HUB_OFFLINE="1").returncode == 0
    assert not hub.log


def test_the_hubs_cache_is_found_again_by_its_variable(cli: Cli, tmp_path: Path) -> None:
    done = json.loads(cli("pull", "xl-inpaint", "--json").stdout)
    assert Path(done["path"]).is_relative_to(tmp_path / "hf" / "hub")
    assert done["downloaded_bytes"] > 0
    assert cli("path", "xl-inpaint").stdout.strip() == done["path"]
    refused(cli("path", "xl-inpaint", HF_HOME=str(tmp_path / "other")), 1)
    listed = cli("list").stdout.splitlines()
    assert listed[0].split() == [
        "NAME",
        "MODEL",
        "PIXELS",
        "DOWNLOAD",
        "STEPS",
        "CFG",
        "SAMPLER",
        "WHERE",
    ]
    (row,) = [line for line in listed if line.startswith(f"{SDXL_INPAINT.key} ")]
    assert row.endswith(done["path"])
    # then the LoRAs, in a table of their own
    loras = listed[listed.index("") + 1 :]
    assert loras[0].split() == ["LORA", "MODEL", "FOR", "DOWNLOAD", "LICENCE", "READ", "WHERE"]
    assert [line.split()[0] for line in loras[1:]] == [lora.key for lora in LORAS]


def test_a_lora_comes_with_its_version_and_says_how_it_is_used(
    cli: Cli, hub: Any, imitation: Any, tmp_path: Path
) -> None:
    lora = next(one for one in LORAS if one.base is SD15)
    hub.repositories[lora.hub_id] = {lora.file.name: imitation.safetensors(1_200_000)}
    assert "--models DIR" in refused(cli("pull", lora.key), 2)
    assert f"models pull {lora.key} --models" in refused(
        cli("path", lora.key, "--models", tmp_path), 1
    )
    done = cli("pull", lora.key, "--models", tmp_path)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "loras" / lora.file.name
    assert done.stdout.strip() == str(file)
    assert (tmp_path / "diffusers" / "sd15" / "model_index.json").is_file()
    for part in ("sprite-lora.json", "--set model=sd15", lora.file.name, lora.words):
        assert part in done.stderr
    assert cli("path", lora.key, "--models", tmp_path).stdout.strip() == str(file)
    assert cli("verify", lora.key, "--models", tmp_path).returncode == 0
    rows = json.loads(cli("list", "--models", tmp_path, "--json").stdout)["loras"]
    assert [row["path"] for row in rows if row["name"] == lora.key] == [str(file)]
    # what is there is not fetched again
    hub.log.clear()
    told = json.loads(cli("pull", lora.key, "--models", tmp_path, "--json").stdout)
    assert (told["name"], told["downloaded_bytes"]) == (lora.key, 0)
    assert not hub.asked_for(HALF_UNET)


def test_a_download_that_was_cut_goes_on(cli: Cli, hub: Any, tmp_path: Path) -> None:
    hub.cuts[HALF_UNET] = 2 * PIECE + 1000
    hub.then = 503
    assert "HTTP 503" in refused(cli("pull", "sd15", "--models", tmp_path), 3)
    refused(cli("path", "sd15", "--models", tmp_path), 1)
    hub.down = None
    hub.log.clear()
    assert cli("pull", "sd15", "--models", tmp_path).returncode == 0
    assert hub.asked_for(HALF_UNET)[0].range == f"bytes={2 * PIECE}-"
    assert cli("verify", "sd15", "--models", tmp_path).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_a_download_that_was_stopped_goes_on(cli: Cli, hub: Any, tmp_path: Path) -> None:
    arrived, stopped = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if path == HALF_UNET:
            arrived.set()
            stopped.wait(60)

    hub.before = hold
    process = cli.start("pull", "sd15", "--models", tmp_path)
    try:
        assert arrived.wait(60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        stopped.set()
        process.kill()
    assert process.returncode == 130
    assert "goes on" in said
    refused(cli("path", "sd15", "--models", tmp_path), 1)
    hub.before = lambda path: None
    assert cli("pull", "sd15", "--models", tmp_path).returncode == 0


def test_a_wrong_checksum_and_a_damaged_file(cli: Cli, hub: Any, tmp_path: Path) -> None:
    right = hub.repositories[SD15.hub_id][HALF_UNET]
    hub.spoiled[HALF_UNET] = right[:-1] + bytes([right[-1] ^ 1])
    sentence = refused(cli("pull", "sd15", "--models", tmp_path), 1)
    assert HALF_UNET in sentence
    assert "checksum" in sentence
    assert not list((tmp_path / "diffusers").rglob("*.part"))
    hub.spoiled.clear()
    folder = Path(cli("pull", "sd15", "--models", tmp_path).stdout.strip())
    (folder / HALF_UNET).write_bytes(right[:-1])
    damaged = cli("verify", "sd15", "--models", tmp_path)
    assert damaged.returncode == 1
    assert f"damaged  {HALF_UNET}" in damaged.stdout
    assert "models pull sd15" in damaged.stderr
    (folder / HALF_UNET).unlink()
    assert HALF_UNET.replace(".fp16", "") in refused(cli("verify", "sd15", "--models", tmp_path), 1)


def test_nobody_there_or_told_to_stay_offline(cli: Cli, tmp_path: Path) -> None:
    sentence = refused(cli("pull", "sd15", HF_ENDPOINT="http://127.0.0.1:9"), 3)
    assert "http://127.0.0.1:9 does not answer" in sentence
    assert "HF_HUB_OFFLINE" in refused(cli("pull", "sd15", HF_HUB_OFFLINE="1"), 3)
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize(("status", "code"), [(403, "GatedRepo"), (404, "RepoNotFound"), (401, "")])
def test_gated_or_gone(cli: Cli, hub: Any, status: int, code: str) -> None:
    hub.refused[SD15.hub_id] = (status, code)
    sentence = refused(cli("pull", "sd15"), 1)
    assert SD15.hub_id in sentence
    assert "HF_TOKEN" in sentence


def test_a_full_disk(cli: Cli, hub: Any, tmp_path: Path, imitation: Any) -> None:
    # The hub lists a file that is larger than any disk; nothing of it may be asked for.

    def listing(hub_id: str) -> dict[str, Any]:
        made = imitation.Hub.listing(hub, hub_id)
        for entry in made["siblings"]:
            if entry["rfilename"] == HALF_UNET:
                entry["size"] = 10**16
        return made

    hub.listing = listing
    sentence = refused(cli("pull", "sd15", "--models", tmp_path), 1)
    assert re.search(r"needs 1000000\d\.\d GB more in .*sd15 .* where [\d.]+ GB are free", sentence)
    assert not hub.asked_for(HALF_UNET)
    assert not list((tmp_path / "diffusers").rglob("*.part"))


def test_unknown_names(cli: Cli) -> None:
    for command in ("pull", "path", "verify"):
        sentence = refused(cli(command, "sd9"), 2)
        assert "sd15, sd21, sdxl" in sentence
