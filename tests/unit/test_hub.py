"""Downloads through the real huggingface_hub from an imitation of the hub on loopback."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.errors import (
    DiskFull,
    HubDamaged,
    HubError,
    HubRefused,
    HubUnreachable,
    SaveFailed,
)
from comfy_nodes.hub import checking, client, places, pulling
from comfy_nodes.hub.checking import Wholeness, check
from comfy_nodes.hub.places import Found, Places, find, find_lora
from comfy_nodes.hub.pulling import DownloadProgress, pull, pull_lora
from comfy_nodes.hub.records import record_path
from comfy_nodes.loras import LORAS
from comfy_nodes.models import SD15, SD15_INPAINT, SDXL

HALF_UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
# Content is handed on in pieces of this size; what came of the next is lost at a cut.
PIECE = client._PIECE
FULL_UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub(imitation: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    held = imitation.Hub()
    held.repositories[SD15.hub_id] = imitation.repository()
    held.repositories[SDXL.hub_id] = imitation.repository(encoders=2)
    with imitation.serving(held):
        monkeypatch.setenv("HF_ENDPOINT", held.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield held


def visible(folder: Path) -> set[str]:
    """The files below a folder that something might take for a model's."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if not name.endswith((".part", ".lock"))}


def test_a_folder_comes_whole_and_is_found_again(hub: Any, tmp_path: Path) -> None:
    seen: list[DownloadProgress] = []
    pulled = pull(SD15, models=tmp_path, report=seen.append)
    assert pulled.path == tmp_path / "diffusers" / "sd15"
    wanted = {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "spriteworks-download.json",
        *(f"{part}/config.json" for part in ("unet", "vae", "text_encoder")),
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/model.fp16.safetensors",
    }
    assert visible(pulled.path) == wanted  # no pickles, no safety checker, nothing twice
    assert find(SD15, Places.of_models(tmp_path)) == Found(pulled.path)
    assert find(SD15, Places()) is None
    assert seen[-1].done == seen[-1].total == pulled.downloaded
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    # The same again downloads nothing, and checks everything.
    assert pull(SD15, models=tmp_path).downloaded == 0
    assert check(SD15, Found(pulled.path)).against == "download"


def test_large_files_come_from_storage_without_the_token(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull(SD15, models=tmp_path)
    asked = hub.asked_for(HALF_UNET)
    assert [one.by_storage for one in asked] == [False, True]
    assert asked[0].authorization == "Bearer hf_secret"
    # Both are 127.0.0.1 here, which libraries take for the same host; another port still counts.
    assert asked[1].authorization is None


def test_both_text_encoders_of_xl_come(hub: Any, tmp_path: Path) -> None:
    pulled = pull(SDXL, models=tmp_path)
    assert "text_encoder_2/model.fp16.safetensors" in pulled.files
    assert "tokenizer_2/vocab.json" in pulled.files


def test_full_weights_where_they_are_wanted_or_the_only_ones(hub: Any, tmp_path: Path) -> None:
    assert FULL_UNET in pull(SD15, models=tmp_path / "a", half=False).files
    del hub.repositories[SD15.hub_id][FULL_UNET]
    assert HALF_UNET in pull(SD15, models=tmp_path / "b", half=False).files


def test_a_single_file_goes_to_the_checkpoints(hub: Any, imitation: Any, tmp_path: Path) -> None:
    assert SD15.checkpoint is not None
    hub.repositories[SD15.hub_id][SD15.checkpoint.name] = imitation.safetensors(1_500_000)
    pulled = pull(SD15, models=tmp_path, single=True)
    assert pulled.path == tmp_path / "checkpoints" / SD15.checkpoint.name
    assert find(SD15, Places.of_models(tmp_path)) == Found(pulled.path)
    assert check(SD15, Found(pulled.path)).files[0].state is Wholeness.RIGHT
    hub.repositories[SD15_INPAINT.hub_id] = hub.repositories[SD15.hub_id]
    with pytest.raises(HubError, match="pickle"):
        pull(SD15_INPAINT, models=tmp_path, single=True)


def test_a_lora_goes_to_the_loras_and_is_checked(hub: Any, imitation: Any, tmp_path: Path) -> None:
    lora = LORAS[0]
    right = imitation.safetensors(1_500_000)
    hub.repositories[lora.hub_id] = {"README.md": b"words", lora.file.name: right}
    assert find_lora(lora, tmp_path) is None
    pulled = pull_lora(lora, tmp_path)
    assert pulled.path == tmp_path / "loras" / lora.file.name
    assert pulled.path.read_bytes() == right
    assert pulled.files == (lora.file.name,)
    assert find_lora(lora, tmp_path) == Found(pulled.path)
    assert check(lora, Found(pulled.path)).against == "download"
    assert pull_lora(lora, tmp_path).downloaded == 0
    # damaged, it is told and mended
    pulled.path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    assert check(lora, Found(pulled.path)).damaged == (lora.file.name,)
    assert pull_lora(lora, tmp_path).downloaded == len(right)
    assert pulled.path.read_bytes() == right
    hub.repositories[lora.hub_id] = {"README.md": b"words"}
    with pytest.raises(HubError, match="has changed"):
        pull_lora(lora, tmp_path)


def test_the_hubs_own_cache_is_the_default_and_huggingface_hub_finds_it(hub: Any) -> None:
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    pulled = pull(SD15)
    cache = places.hub_cache()
    assert pulled.path.parent == cache / f"models--{SD15.hub_id.replace('/', '--')}" / "snapshots"
    assert find(SD15, Places()) == Found(pulled.path)
    found = try_to_load_from_cache(SD15.hub_id, HALF_UNET, cache_dir=cache)
    assert Path(str(found)) == pulled.path / HALF_UNET
    assert not scan_cache_dir(cache).warnings


def test_what_huggingface_hub_has_fetched_is_found_with_links_and_without(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import snapshot_download

    cache = places.hub_cache()
    folder = Path(snapshot_download(SD15.hub_id, cache_dir=cache, endpoint=hub.url))
    if os.name != "nt":
        assert (folder / HALF_UNET).is_symlink()
    assert find(SD15, Places()) == Found(folder)
    checked = check(SD15, Found(folder))
    assert (checked.against, checked.damaged) == ("hub", ())
    assert pull(SD15).downloaded == 0
    # As on Windows: files instead of links.
    for path in [path for path in folder.rglob("*") if path.is_symlink()]:
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert find(SD15, Places()) == Found(folder)
    assert pull(SD15).downloaded == 0


@pytest.fixture
def large(hub: Any, imitation: Any) -> Any:
    """The hub with a UNet of more than one piece."""
    hub.repositories[SD15.hub_id] = imitation.repository(200_000, unet=5 * PIECE)
    return hub


def test_a_cut_connection_is_taken_up_again_within_one_call(large: Any, tmp_path: Path) -> None:
    hub = large
    hub.cuts[HALF_UNET] = PIECE + 700_000
    pulled = pull(SD15, models=tmp_path)
    ranges = [one.range for one in hub.asked_for(HALF_UNET) if one.by_storage]
    assert ranges[0] is None
    assert ranges[1] == f"bytes={PIECE}-"
    assert not check(SD15, Found(pulled.path)).damaged


def test_a_cut_download_goes_on_with_the_next_call(large: Any, tmp_path: Path) -> None:
    hub = large
    hub.cuts[HALF_UNET] = PIECE + 700_000
    hub.then = 503
    with pytest.raises(HubUnreachable, match="503"):
        pull(SD15, models=tmp_path)
    folder = tmp_path / "diffusers" / "sd15"
    (part,) = folder.rglob("*.part")
    assert part.stat().st_size == PIECE
    assert "model_index.json" not in visible(folder)  # so nobody takes it for a model
    assert find(SD15, Places.of_models(tmp_path)) is None
    hub.down = None
    hub.log.clear()
    whole = pull(SD15, models=tmp_path)
    assert [one.range for one in hub.asked_for(HALF_UNET)] == [f"bytes={PIECE}-"] * 2
    assert not list(folder.rglob("*.part"))
    assert whole.downloaded < sum(map(len, hub.repositories[SD15.hub_id].values())) - PIECE
    assert not check(SD15, Found(whole.path)).damaged


def test_a_hub_that_knows_no_ranges_sends_all_again(large: Any, tmp_path: Path) -> None:
    hub = large
    hub.cuts[HALF_UNET] = PIECE + 700_000
    hub.knows_ranges = False
    pulled = pull(SD15, models=tmp_path)
    assert [one.range for one in hub.asked_for(HALF_UNET) if one.by_storage] == [
        None,
        f"bytes={PIECE}-",
    ]
    assert not check(SD15, Found(pulled.path)).damaged
    assert pulled.downloaded == sum((pulled.path / name).stat().st_size for name in pulled.files)


def test_a_file_that_is_longer_than_announced_does_not_fill_the_disk(
    hub: Any, tmp_path: Path
) -> None:
    right = hub.repositories[SD15.hub_id][HALF_UNET]
    hub.spoiled[HALF_UNET] = b"x" * (len(right) + 4 * PIECE)
    seen: list[DownloadProgress] = []
    with pytest.raises(HubDamaged, match=HALF_UNET):
        pull(SD15, models=tmp_path, report=seen.append)
    assert max(one.done for one in seen) <= seen[0].total


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(hub: Any, tmp_path: Path) -> None:
    hub.down, hub.recovers_after = 503, 2
    assert not check(SD15, Found(pull(SD15, models=tmp_path).path)).damaged


def test_what_lies_there_and_is_no_beginning_of_the_file_is_found_by_the_checksum(
    hub: Any, tmp_path: Path, imitation: Any
) -> None:
    folder = tmp_path / "diffusers" / "sd15" / "unet"
    folder.mkdir(parents=True)
    sha = imitation._sibling(HALF_UNET, hub.repositories[SD15.hub_id][HALF_UNET])["lfs"]["sha256"]
    beside = folder / f"diffusion_pytorch_model.fp16.safetensors.{sha[:12]}.part"
    beside.write_bytes(b"x" * 1_100_000)
    with pytest.raises(HubDamaged):
        pull(SD15, models=tmp_path)
    assert not check(SD15, Found(pull(SD15, models=tmp_path).path)).damaged


def test_a_wrong_checksum_leaves_nothing(hub: Any, tmp_path: Path) -> None:
    right = hub.repositories[SD15.hub_id][HALF_UNET]
    hub.spoiled[HALF_UNET] = right[:-1] + bytes([right[-1] ^ 1])
    with pytest.raises(HubDamaged, match=HALF_UNET):
        pull(SD15, models=tmp_path)
    folder = tmp_path / "diffusers" / "sd15"
    assert not list(folder.rglob("*.part"))
    assert not visible(folder) & {HALF_UNET, "model_index.json"}
    hub.spoiled.clear()
    assert pull(SD15, models=tmp_path).downloaded > 0


def test_a_wrong_small_file_is_found_too(hub: Any, tmp_path: Path) -> None:
    hub.spoiled["unet/config.json"] = b"[]"
    with pytest.raises(HubDamaged, match=r"unet/config\.json"):
        pull(SD15, models=tmp_path)


def test_a_damaged_file_is_found_and_mended(hub: Any, tmp_path: Path) -> None:
    pulled = pull(SD15, models=tmp_path)
    unet = pulled.path / HALF_UNET
    content = bytearray(unet.read_bytes())
    content[-1] ^= 1
    unet.write_bytes(content)
    assert check(SD15, Found(pulled.path)).damaged == (HALF_UNET,)
    mended = pull(SD15, models=tmp_path)
    assert mended.downloaded == len(content)
    assert not check(SD15, Found(pulled.path)).damaged


def test_a_damaged_link_is_mended_with_its_content(hub: Any) -> None:
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(SD15.hub_id, cache_dir=places.hub_cache(), endpoint=hub.url))
    unet = folder / HALF_UNET
    content = unet.resolve()
    content.write_bytes(content.read_bytes()[:-1])
    assert check(SD15, Found(folder)).damaged == (HALF_UNET,)
    pull(SD15)
    assert not check(SD15, Found(folder)).damaged
    assert content == unet or not content.exists()


@pytest.mark.parametrize("path", [HALF_UNET, "unet/config.json"])
@pytest.mark.parametrize("pinned", [True, False])
def test_without_a_record_what_is_sound_is_compared_with_the_hubs_checksum(
    hub: Any, tmp_path: Path, path: str, pinned: bool
) -> None:
    # In the hub's cache a folder says its commit; elsewhere it may be of an older one.
    folder = pull(SD15, models=None if pinned else tmp_path).path
    record_path(folder).unlink()
    right = check(SD15, Found(folder))
    assert (right.against, {file.state for file in right.files}) == ("hub", {Wholeness.RIGHT})
    # As long as before, and sound: only a checksum can tell.
    content = (folder / path).read_bytes()
    if path.endswith(".json"):
        changed = content.replace(b"{", b"[").replace(b"}", b"]").replace(b":", b",")
    else:
        changed = content[:-1] + bytes([content[-1] ^ 1])
    assert changed != content
    (folder / path).write_bytes(changed)
    assert checking.is_sound(folder / path)
    states = {file.path: file.state for file in check(SD15, Found(folder)).files}
    assert states.pop(path) is (Wholeness.DAMAGED if pinned else Wholeness.CHANGED)
    assert set(states.values()) == {Wholeness.RIGHT}


def test_without_a_record_and_without_the_hub_the_structure_is_checked(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled = pull(SD15, models=tmp_path)
    record_path(pulled.path).unlink()
    assert check(SD15, Found(pulled.path)).against == "hub"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    checked = check(SD15, Found(pulled.path))
    assert checked.against == "none"
    assert {file.state for file in checked.files} == {Wholeness.READABLE}
    unet = pulled.path / HALF_UNET
    unet.write_bytes(unet.read_bytes()[:-1])
    assert check(SD15, Found(pulled.path)).damaged == (HALF_UNET,)


@pytest.mark.parametrize("damaged", [HALF_UNET, FULL_UNET])
@pytest.mark.parametrize("against", ["download", "hub", "none"])
def test_weights_in_fp16_and_in_full_are_both_checked(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: str, against: str
) -> None:
    """Which of them a loader reads depends on its settings and on the device."""
    folder = pull(SD15, models=tmp_path).path
    assert pull(SD15, models=tmp_path, half=False).path == folder
    if against != "download":
        record_path(folder).unlink()
    if against == "none":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    whole = check(SD15, Found(folder))
    assert (whole.against, whole.damaged) == (against, ())
    assert {HALF_UNET, FULL_UNET} <= {file.path for file in whole.files}
    (folder / damaged).write_bytes((folder / damaged).read_bytes()[:-1])
    assert check(SD15, Found(folder)).damaged == (damaged,)


def test_a_folder_with_weights_in_shards_is_whole_with_the_last_of_them(
    hub: Any, tmp_path: Path, imitation: Any
) -> None:
    folder = pull(SD15, models=tmp_path).path
    unet = folder / "unet"
    (folder / HALF_UNET).unlink()
    assert find(SD15, Places.of_models(tmp_path)) is None
    (unet / "diffusion_pytorch_model.safetensors.index.fp16.json").write_text("{}", "utf-8")
    shards = [f"diffusion_pytorch_model.fp16-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    for name in shards[:2]:
        (unet / name).write_bytes(imitation.safetensors(1000))
    assert str(places.missing(folder, SD15)).endswith(f"has no unet/{shards[2]}")
    (unet / shards[2]).write_bytes(imitation.safetensors(1000))
    assert find(SD15, Places.of_models(tmp_path)) == Found(folder)
    record_path(folder).unlink()
    assert {f"unet/{name}" for name in shards} <= {
        file.path for file in check(SD15, Found(folder)).files
    }


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 20, b"PK\x03\x04" + b"0" * 100])
def test_what_is_no_safetensors_file_is_not_sound(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert not checking.is_sound(path)


def test_a_disk_without_room_is_said_before_anything_comes(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(pulling.shutil, "disk_usage", lambda path: usage._replace(free=5_000_000))
    with pytest.raises(DiskFull, match=r"needs 4\.5 MB more .* where 5\.0 MB are free") as caught:
        pull(SD15, models=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert [one.path for one in hub.log] == [f"/api/models/{SD15.hub_id}"]
    assert not visible(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 8 MiB, where this user may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=8m", "none", str(disk)], capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("only a user who may mount can make a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_on_the_way_keeps_what_came(
    hub: Any, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "_SPARE", 0)

    def fill(path: str) -> None:
        if path == HALF_UNET:
            free = shutil.disk_usage(small_disk).free
            (small_disk / "other").write_bytes(b"x" * (free - 1_000_000))

    hub.before = fill
    with pytest.raises(DiskFull, match="full"):
        pull(SD15, models=small_disk)
    folder = small_disk / "diffusers" / "sd15"
    assert not visible(folder) & {HALF_UNET, "model_index.json"}
    assert find(SD15, Places.of_models(small_disk)) is None
    (small_disk / "other").unlink()
    hub.before = lambda path: None
    assert not check(SD15, Found(pull(SD15, models=small_disk).path)).damaged


def test_a_folder_that_cannot_be_written_is_said(hub: Any, tmp_path: Path) -> None:
    (tmp_path / "diffusers").write_text("a file", encoding="utf-8")
    with pytest.raises(SaveFailed, match="diffusers"):
        pull(SD15, models=tmp_path)


def test_a_hub_that_nobody_answers_for(
    hub: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnreachable, match=r"http://127\.0\.0\.1:9 does not answer"):
        pull(SD15, models=tmp_path)
    assert not visible(tmp_path)


def test_offline_is_said_and_nobody_is_asked(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE"):
        pull(SD15)
    assert not hub.log


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "GatedRepo", "gated"),
        (401, "GatedRepo", "gated"),
        (404, "RepoNotFound", "HTTP 404"),
        (401, "", "HTTP 401"),
        (403, "", "HTTP 403"),
    ],
)
def test_what_the_hub_refuses(hub: Any, status: int, code: str, said: str) -> None:
    hub.refused[SD15.hub_id] = (status, code)
    with pytest.raises(HubRefused, match=said) as caught:
        pull(SD15)
    assert SD15.hub_id in str(caught.value)
    assert "HF_TOKEN" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_in_trouble(hub: Any, status: int) -> None:
    """Which passes: what came so far is kept, and it is worth trying again."""
    hub.refused[SD15.hub_id] = (status, "")
    with pytest.raises(HubUnreachable, match=f"HTTP {status}"):
        pull(SD15)


def test_without_the_library_models_are_found_and_the_lack_is_said(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pull(SD15, models=tmp_path).path
    for name in [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert find(SD15, Places.of_models(tmp_path)) == Found(path)
    assert not check(SD15, Found(path)).damaged
    with pytest.raises(HubError, match="pip install huggingface_hub"):
        pull(SDXL, models=tmp_path)


def test_a_login_page_is_no_hub(hub: Any) -> None:
    hub.page = True
    with pytest.raises(HubUnreachable, match="login page"):
        pull(SD15)


def test_a_repository_that_lost_a_part(hub: Any, tmp_path: Path) -> None:
    for name in ("fp16.safetensors", "safetensors"):
        del hub.repositories[SD15.hub_id][f"vae/diffusion_pytorch_model.{name}"]
    with pytest.raises(HubError, match="vae/diffusion_pytorch_model"):
        pull(SD15, models=tmp_path)


def test_two_downloads_to_one_place_do_not_mix(hub: Any, tmp_path: Path) -> None:
    said: list[str] = []

    def at_once(path: str) -> None:
        if path == HALF_UNET and not said:
            with pytest.raises(SaveFailed) as caught:
                pull(SD15, models=tmp_path)
            said.append(str(caught.value))

    hub.before = at_once
    pull(SD15, models=tmp_path)
    assert "another process" in said[0]


def test_a_download_can_be_stopped_by_whoever_watches(hub: Any, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(progress: DownloadProgress) -> None:
        if progress.file == HALF_UNET:
            raise Stop

    with pytest.raises(Stop):
        pull(SD15, models=tmp_path, report=stop)
    assert find(SD15, Places.of_models(tmp_path)) is None


@pytest.mark.parametrize("path", [HALF_UNET, "unet/config.json"])
def test_what_lies_there_of_a_part_is_never_longer_than_the_file(
    hub: Any, tmp_path: Path, path: str
) -> None:
    content = hub.repositories[SD15.hub_id][path]
    pull(SD15, models=tmp_path / "first")
    sibling = imitation_mark(hub, path)
    part = tmp_path / "diffusers" / "sd15" / f"{path}.{sibling[:12]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * (len(content) + 10))
    pulled = pull(SD15, models=tmp_path)
    assert (pulled.path / path).read_bytes() == content


def imitation_mark(hub: Any, path: str) -> str:
    """The checksum that the hub names for a file: SHA-256 of large ones, else git's."""
    file = client.listing(SD15.hub_id).files[path]
    mark = file.sha256 or file.blob
    assert mark is not None
    return mark


def test_what_makes_a_folder_a_model_comes_last(hub: Any, tmp_path: Path) -> None:
    asked: list[str] = []
    hub.before = asked.append
    pulled = pull(SD15, models=tmp_path)
    assert pulled.files[-1] == "model_index.json"
    assert asked[-1] == "model_index.json"


def test_of_several_snapshots_the_one_that_the_hub_called_newest_is_found(hub: Any) -> None:
    first = pull(SD15).path
    other = first.with_name("0" * 40)
    shutil.copytree(first, other)
    reference = first.parent.parent / "refs" / "main"
    assert reference.read_text(encoding="utf-8") == first.name
    assert find(SD15, Places()) == Found(first)
    reference.write_text(other.name, encoding="utf-8")
    assert find(SD15, Places()) == Found(other)


def test_a_folder_that_is_no_model_is_nothing_unfinished(tmp_path: Path) -> None:
    (tmp_path / "diffusers" / "sd15" / "unet").mkdir(parents=True)
    assert places.unfinished(SD15, Places.of_models(tmp_path)) is None


def test_half_a_folder_is_not_found_and_what_is_missing_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "diffusers" / "stable-diffusion-v1-5"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}", encoding="utf-8")
    wanted = Places.of_models(tmp_path)
    assert find(SD15, wanted) is None
    assert "unet/config.json" in str(places.unfinished(SD15, wanted))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert places.hub_cache() == Path.home() / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert places.hub_cache() == tmp_path / "x" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "h"))
    assert places.hub_cache() == tmp_path / "h" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "c"))
    assert places.hub_cache() == tmp_path / "c"


def test_the_address_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert client.endpoint() == "https://huggingface.co"


def test_only_public_names_of_huggingface_hub_are_used() -> None:
    """Its own modules and underscored names change without a word; artists have any version."""
    folder = Path(client.__file__).parent
    used = [use for path in sorted(folder.rglob("*.py")) for use in hub_uses(path)]
    assert ("huggingface_hub", "HfApi") in used
    for module, name in used:
        assert module in ("huggingface_hub", "huggingface_hub.utils"), (module, name)
        assert not name.startswith("_"), (module, name)


def hub_uses(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of all that a file takes from huggingface_hub."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                if one.name.split(".")[0] == "huggingface_hub":
                    modules[one.asname or one.name.split(".")[0]] = one.name
                    yield one.name, ""
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("huggingface_hub"):
            for one in node.names:
                yield str(node.module), one.name
                modules[one.asname or one.name] = f"{node.module}.{one.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module is not None:
                yield module, node.attr
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "getattr"
            and isinstance(node.args[0], ast.Name)
            and node.args[0].id in modules
        ):
            assert isinstance(node.args[1], ast.Constant)
            yield modules[node.args[0].id], str(node.args[1].value)
