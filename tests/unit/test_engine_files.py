"""Folders, uploads and views: names stay inside, nothing is written by halves."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from orchestrator.engine import host
from orchestrator.engine.folders import Folders, OutsideFolder, inside
from orchestrator.engine.host import ui
from orchestrator.engine.host.pack_folders import PackFolders
from orchestrator.engine.serving.files import (
    UploadedFile,
    View,
    find_view,
    masked,
    save_upload,
    view,
)
from orchestrator.errors import InputError, ModelError, OutputError
from orchestrator.guard import is_foreign
from orchestrator.protocol.http import annotated


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(
        input=tmp_path / "input",
        output=tmp_path / "output",
        temp=tmp_path / "temp",
        model_roots=[tmp_path / "models", tmp_path / "more"],
        extra_models={"diffusers": [tmp_path / "bundled"]},
    ).resolved()
    made.create()
    host.use_folders(made)
    return made


def png(color: Any = (1, 2, 3), mode: str = "RGB", **text: str) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    for key, value in text.items():
        chunks.add_text(key, value)
    buffer = io.BytesIO()
    Image.new(mode, (4, 6), color).save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "name", ["../x", "..", "a/../../x", "/etc/passwd", "..\\x", "a\\..\\..\\x", "x\x00"]
)
def test_a_name_that_leaves_its_folder_is_refused(name: str, folders: Folders) -> None:
    with pytest.raises(OutsideFolder):
        inside(folders.input, name)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_out_of_the_folder_is_refused(folders: Folders, tmp_path: Path) -> None:
    (folders.input / "link").symlink_to(tmp_path)
    with pytest.raises(OutsideFolder):
        inside(folders.input, "link/secret.png")


@given(st.lists(st.text(alphabet="ab./\\ ", max_size=8), min_size=1, max_size=3))
def test_no_name_leaves_its_folder(parts: list[str]) -> None:
    root = Path("root").resolve()
    try:
        path = inside(root, *parts)
    except OutsideFolder:
        return
    assert path == root or root in path.parents


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.png", ("a.png", "input")),
        ("a.png [output]", ("a.png", "output")),
        ("a.png [temp]", ("a.png", "temp")),
        ("a.png [other]", ("a.png [other]", "input")),
    ],
)
def test_a_name_may_say_its_folder(name: str, found: tuple[str, str]) -> None:
    assert annotated(name, "input") == found


def test_a_missing_input_is_named(folders: Folders) -> None:
    (folders.temp / "t.png").write_bytes(png())
    assert folders.input_file("t.png [temp]").name == "t.png"
    with pytest.raises(InputError, match=r"'x\.png'.*upload"):
        folders.input_file("x.png")


# ------------------------------------------------------------------ models


def test_models_of_all_roots_are_listed_and_found(folders: Folders, tmp_path: Path) -> None:
    for path in (
        "models/checkpoints/a.safetensors",
        "models/checkpoints/sub/b.safetensors",
        "models/checkpoints/pickle.ckpt",
        "more/checkpoints/a.safetensors",
        "models/diffusers/one/model_index.json",
        "models/diffusers/one/unet/x.safetensors",
        "models/diffusers/owner/two/model_index.json",
        "bundled/starter/model_index.json",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    assert list(folders.models("checkpoints")) == ["a.safetensors", "sub/b.safetensors"]
    assert folders.find("checkpoints", "a.safetensors").is_relative_to(
        tmp_path.resolve() / "models"
    )
    assert list(folders.models("diffusers")) == ["one", "owner/two", "starter"]
    with pytest.raises(ModelError, match=r"'c'.*a\.safetensors, sub/b\.safetensors"):
        folders.find("checkpoints", "c")
    with pytest.raises(ModelError, match="none"):
        folders.find("loras", "c")
    names = PackFolders().checkpoint_names()
    assert names == ["a.safetensors", "pickle.ckpt", "sub/b.safetensors"]  # the pack sorts them out
    assert PackFolders().roots("diffusers")[-1] == tmp_path / "bundled"


# ------------------------------------------------------------------ saved pictures


def test_pictures_are_numbered_on(folders: Folders) -> None:
    (folders.output / "x_00041_.png").write_bytes(b"")
    (folders.output / "x_y_00099_.png").write_bytes(b"")
    folder, name, number = folders.next_image("x", "output", 4, 6)
    assert (folder, name, number) == (folders.output, "x", 42)


def test_a_prefix_holds_folders_and_sizes(folders: Folders) -> None:
    folder, name, number = folders.next_image("a/%width%x%height%/p", "output", 4, 6)
    assert folder == folders.output / "a" / "4x6"
    assert folder.is_dir()
    assert (name, number) == ("p", 1)
    assert folders.next_image("%year%", "output", 1, 1)[1].isdigit()
    target = PackFolders().save_target("a/q", 4, 6)
    assert (target.filename, target.counter, target.subfolder) == ("q", 1, "a")


@pytest.mark.parametrize("prefix", ["../x", "/tmp/x", "", "."])
def test_a_prefix_that_leaves_the_folder_is_refused(prefix: str, folders: Folders) -> None:
    with pytest.raises(OutsideFolder):
        folders.next_image(prefix, "output", 1, 1)


class Saver(host.ComfyNode):
    hidden = host.HiddenHolder(prompt={"1": {}}, extra_pnginfo={"workflow": {"nodes": []}})


def test_saved_pictures_carry_their_graph(folders: Folders) -> None:
    images = torch.zeros(2, 6, 4, 3)
    images[1] = 0.999
    shown = ui.ImageSaveHelper.get_save_images_ui(images, "s/pic", Saver).as_dict()
    assert [each["filename"] for each in shown["images"]] == [
        "pic_00001_.png",
        "pic_00002_.png",
    ]
    assert shown["images"][0]["subfolder"] == "s"
    saved = Image.open(folders.output / "s" / "pic_00002_.png")
    assert json.loads(saved.text["prompt"]) == {"1": {}}  # type: ignore[attr-defined]
    assert json.loads(saved.text["workflow"]) == {"nodes": []}  # type: ignore[attr-defined]
    # cut off, as ComfyUI does, not rounded
    assert np.asarray(saved).max() == 254
    assert saved.size == (4, 6)


def test_a_picture_that_cannot_be_written_leaves_nothing(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **rest: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        ui.ImageSaveHelper.get_save_images_ui(torch.zeros(1, 6, 4, 3), "pic", Saver)
    with pytest.raises(OutputError, match="No space left"):
        save_upload(folders, UploadedFile(filename="x.png", content=png()))
    assert list(folders.output.iterdir()) == []
    assert list(folders.input.iterdir()) == []


def test_previews_go_to_the_temp_folder(folders: Folders) -> None:
    (shown,) = ui.PreviewImage(torch.zeros(1, 6, 4, 3)).as_dict()["images"]
    assert shown["type"] == "temp"
    assert (folders.temp / shown["filename"]).is_file()
    mask = ui.PreviewMask(torch.ones(1, 6, 4)).as_dict()["images"][0]
    assert Image.open(folders.temp / mask["filename"]).getpixel((0, 0)) == (255, 255, 255)


# ------------------------------------------------------------------ uploads


def test_ten_uploads_of_one_name_get_ten_names(folders: Folders) -> None:
    names: list[str] = []

    def send(number: int) -> None:
        upload = UploadedFile(filename="a.png", content=png((number, 0, 0)))
        names.append(save_upload(folders, upload).filename)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == sorted(["a.png", *(f"a ({n}).png" for n in range(1, 10))])
    assert sorted(path.name for path in folders.input.iterdir()) == sorted(names)


@pytest.mark.parametrize("name", ["", ".", "../a.png", "a/../../b.png"])
def test_an_upload_needs_a_name_of_its_own(name: str, folders: Folders) -> None:
    with pytest.raises(InputError):
        save_upload(folders, UploadedFile(filename=name, content=b"x"))


def test_a_mask_becomes_the_alpha_and_texts_stay(folders: Folders) -> None:
    (folders.input / "o.png").write_bytes(png(prompt="kept"))
    reference = json.dumps({"filename": "o.png [input]"})
    merged = Image.open(io.BytesIO(masked(folders, reference, png((0, 0, 0, 9), "RGBA"))))
    assert merged.getpixel((0, 0)) == (1, 2, 3, 9)
    assert merged.text["prompt"] == "kept"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("reference", "mask"),
    [
        ("no JSON", b""),
        ("[]", b""),
        ('{"filename": "missing.png", "type": "input"}', b""),
        ('{"filename": "o.png", "type": "secret"}', b""),
        ('{"filename": "../o.png", "type": "input"}', b""),
        ('{"filename": "o.png", "type": "input"}', b"no picture"),
    ],
)
def test_a_mask_that_fits_nothing_is_refused(reference: str, mask: bytes, folders: Folders) -> None:
    (folders.input / "o.png").write_bytes(png())
    with pytest.raises(InputError):
        masked(folders, reference, mask)


def test_a_mask_of_another_size_is_refused(folders: Folders) -> None:
    (folders.input / "o.png").write_bytes(png())
    buffer = io.BytesIO()
    Image.new("RGBA", (5, 5)).save(buffer, "PNG")
    with pytest.raises(InputError, match="does not fit"):
        masked(folders, '{"filename": "o.png", "type": "input"}', buffer.getvalue())


# ------------------------------------------------------------------ views


def shown(path: Path, **query: str) -> tuple[Image.Image, str]:
    answer = view(path, query)
    assert isinstance(answer.content, bytes)
    return Image.open(io.BytesIO(answer.content)), answer.media_type


def test_views_of_a_picture(folders: Folders) -> None:
    path = folders.output / "a.png"
    path.write_bytes(png((10, 20, 30, 40), "RGBA"))
    assert find_view(folders, {"filename": "a.png"}) == path
    assert view(path, {}) == View(path, "image/png")
    assert shown(path, channel="rgb")[0].getpixel((0, 0)) == (10, 20, 30)
    assert shown(path, channel="a")[0].getpixel((0, 0)) == (0, 0, 0, 40)
    assert shown(path, preview="jpeg;10")[1] == "image/jpeg"
    assert shown(path, preview="webp;10")[1] == "image/webp"
    assert shown(path, preview="jpeg", channel="a")[1] == "image/webp"
    assert shown(path, preview="anything;x")[1] == "image/webp"


def test_what_a_browser_would_run_is_sent_as_bytes(folders: Folders) -> None:
    for name in ("a.html", "a.svg", "a.js", "a.css", "a.unknown"):
        assert view(folders.output / name, {}).media_type == "application/octet-stream"


def test_no_picture_has_no_preview(folders: Folders) -> None:
    path = folders.output / "a.png"
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="no picture"):
        view(path, {"preview": "webp"})


# ------------------------------------------------------------------ foreign pages


@pytest.mark.parametrize(
    ("host_header", "origin", "foreign"),
    [
        ("127.0.0.1:8188", "", False),
        ("127.0.0.1:8188", "http://127.0.0.1:8188", False),
        ("LocalHost:8188", "http://localhost:8188", False),
        ("localhost", "http://localhost:8188", False),
        ("127.0.0.1:8188", "http://127.0.0.1", False),
        ("127.0.0.1:8188", "http://127.0.0.1:3000", True),
        ("127.0.0.1:8188", "http://localhost:8188", True),
        ("127.0.0.1:8188", "https://example.com", True),
        ("192.168.0.2:8188", "https://example.com", True),
        ("127.0.0.1:8188", "null", True),
        ("[::1]:8188", "http://[::1]:8188", False),
    ],
)
def test_foreign_pages_are_told(host_header: str, origin: str, foreign: bool) -> None:
    assert is_foreign(host_header, origin) is foreign


def test_arguments_answer_without_the_heavy_imports() -> None:
    import subprocess

    code = (
        "import sys; from orchestrator.engine.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'fastapi'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    "name",
    ["a" * 256 + ".png", "ü" * 200 + ".png", "a/" * 3000 + "b", "a\0.png", "\ud800.png", "\udcff"],
)
def test_a_name_that_no_file_can_have_is_refused(folders: Folders, name: str) -> None:
    query = {"filename": name, "type": "input"}
    with pytest.raises(InputError):
        find_view(folders, query)
    with pytest.raises(InputError):
        find_view(folders, {"filename": "a.png", "subfolder": name})
    for upload in (
        UploadedFile(filename=name, content=b""),
        UploadedFile(filename="a", content=b""),
    ):
        for subfolder in ("", "not there yet") if upload.filename == name else (name,):
            with pytest.raises(InputError):
                save_upload(folders, replace(upload, subfolder=subfolder))
    with pytest.raises(InputError):
        masked(folders, json.dumps({"filename": name}), png())
    assert not list(folders.input.iterdir())


def test_a_name_without_room_for_a_number_is_refused(folders: Folders) -> None:
    name = "a" * 251 + ".png"
    save_upload(folders, UploadedFile(filename=name, content=b"1"))
    with pytest.raises(InputError):
        save_upload(folders, UploadedFile(filename=name, content=b"2"))


def test_a_file_in_the_way_is_the_clients_mistake(folders: Folders) -> None:
    save_upload(folders, UploadedFile(filename="a", content=b"1"))
    with pytest.raises(InputError, match="in the way"):
        save_upload(folders, UploadedFile(filename="b", subfolder="a", content=b""))
    (folders.input / "folder").mkdir()
    with pytest.raises(InputError, match="in the way"):
        save_upload(folders, UploadedFile(filename="folder", content=b"", overwrite=True))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_only_regular_files_are_listed(folders: Folders, tmp_path: Path) -> None:
    loras = tmp_path / "models" / "loras"
    loras.mkdir(parents=True)
    for folder, ending in ((loras, ".safetensors"), (folders.input, ".png")):
        (folder / f"file{ending}").write_bytes(b"")
        (folder / f"link{ending}").symlink_to(folder / f"file{ending}")
        os.mkfifo(folder / f"pipe{ending}")
        (folder / f"pipe_link{ending}").symlink_to(folder / f"pipe{ending}")
        (folder / f"nothing{ending}").symlink_to(folder / "gone")
        (folder / f"itself{ending}").symlink_to(folder / f"itself{ending}")
        (folder / f"device{ending}").symlink_to("/dev/zero")
        (folder / f"folder{ending}").mkdir()
    (Path(os.fsdecode(os.fsencode(loras) + b"/\xff.safetensors"))).write_bytes(b"")
    assert list(folders.models("loras")) == ["file.safetensors", "link.safetensors"]
    assert folders.input_images() == ["file.png", "link.png"]
    with pytest.raises(InputError):
        folders.input_file("pipe.png")


def test_a_format_that_runs_programs_is_not_shown(folders: Folders) -> None:
    # Pillow has a reader for it, which starts Ghostscript.
    path = folders.output / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(InputError, match="no picture"):
        view(path, {"preview": "webp;90"})
