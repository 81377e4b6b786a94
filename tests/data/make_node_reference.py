"""Records what real ComfyUI's tokenizer and picture nodes give, for tests that run without it.

Run in ComfyUI 0.3.64's folder, with its own Python:
    .venv/bin/python <repository>/tests/data/make_node_reference.py <repository>/tests/data
Writes tokens.json, pictures/*, and resized.safetensors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, ".")
OUT = Path(sys.argv[1])
sys.argv = [sys.argv[0]]
from comfy.cli_args import args  # noqa: E402

args.cpu = True
import comfy.sd1_clip  # noqa: E402
import comfy.utils  # noqa: E402
import nodes  # noqa: E402

TEXTS = [
    "",
    "a red potion",
    "a (red:1.3) potion ((shiny)) [dull]",
    r"smiling \(really\) (very \(very:0.5\) much:1.2)",
    "(a) b) (c:1.2",
    "((()))(:1.5)(x:)(y:no)( z : .7 )",
    "Pixel ART, 64x64!\nnew line — dash, café",
    "sword " * 80 + "(blue:0.7) one",
    ", ".join(["one two three four"] * 30),
    "(" + "gem " * 70 + "and:1.1) (this one is a rather long one in brackets " * 2 + ":0.9)",
]
METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos", "bislerp"]
SIZES = [(7, 5), (18, 20)]


def tokens() -> dict[str, object]:
    tokenizer = comfy.sd1_clip.SDTokenizer()
    big = comfy.sd1_clip.SDTokenizer(pad_with_end=False)
    return {
        text: {
            "chunks": tokenizer.tokenize_with_weights(text),
            "openclip_pad": big.tokenize_with_weights(text)[-1][-1][0],
        }
        for text in TEXTS
    }


def pictures(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(3)

    def noise(channels: int) -> np.ndarray:
        return rng.integers(0, 256, (9, 12, channels), dtype=np.uint8)

    Image.fromarray(noise(3)).save(folder / "rgb.png")
    Image.fromarray(noise(4), "RGBA").save(folder / "rgba.png")
    Image.fromarray(noise(1)[..., 0]).save(folder / "grey.png")
    Image.fromarray(noise(2), "LA").save(folder / "grey_alpha.png")
    palette = Image.fromarray(noise(3)).quantize(8)
    palette.save(folder / "palette.png", transparency=2)
    deep = rng.integers(0, 65536, (9, 12), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "grey16.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(3)).save(folder / "turned.png", exif=turned)
    frames = [Image.fromarray(noise(3)).quantize(16) for _ in range(3)]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])


def read(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted(folder.iterdir()):
        nodes.folder_paths.set_input_directory(str(folder))
        image, mask = nodes.LoadImage().load_image(path.name)
        found[f"image {path.name}"] = image
        if mask.any():  # others are zeros of 64x64
            found[f"mask {path.name}"] = mask
        for channel in ("alpha", "blue"):
            (found[f"{channel} {path.name}"],) = nodes.LoadImageMask().load_image(
                path.name, channel
            )
    return found


def resized() -> dict[str, torch.Tensor]:
    source = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(5))
    found = {"source": source}
    for method in METHODS:
        for width, height in SIZES:
            for crop in ("disabled", "center"):
                found[f"{method} {width} {height} {crop}"] = comfy.utils.common_upscale(
                    source, width, height, method, crop
                )
    return found


if __name__ == "__main__":
    text = json.dumps(tokens(), ensure_ascii=True)
    (OUT / "tokens.json").write_text(text + "\n", encoding="utf-8")
    pictures(OUT / "pictures")
    tensors = resized() | read(OUT / "pictures")
    save_file({k: v.contiguous() for k, v in tensors.items()}, OUT / "resized.safetensors")
