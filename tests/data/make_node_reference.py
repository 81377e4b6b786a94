"""Records what real ComfyUI's tokenizer and picture nodes give, for tests that run without it.

record.py runs it in ComfyUI's folder, with ComfyUI's own Python:
    .venv/bin/python <repository>/tests/data/make_node_reference.py <repository>/tests/data
Writes tokens.json, embedded_tokens.json, pictures/*, and resized.safetensors.
"""

from __future__ import annotations

import json
import sys
import tempfile
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
# With embeddings "gold" of two vectors and "silver" of one.
EMBEDDED = [
    "embedding:gold",
    "a (embedding:gold, coin:1.5) embedding:none x",
    "red embedding:silver,embedding:gold gem",
    "embedding:gold<lora:x:1> y",
    "a\tembedding:silver[b] c",
    "x\n\nembedding:gold\n y  embedding:silver ",
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


def embedded() -> dict[str, object]:
    """Chunks in which "gold 1" stands for the second vector of gold, and so on."""
    values = {"gold 0": 1.0, "gold 1": 2.0, "silver 0": 3.0}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("gold", "silver"):
            own = [value for key, value in values.items() if key.startswith(name)]
            vectors = torch.tensor(own)[:, None].expand(-1, 768).contiguous()
            save_file({"emb_params": vectors}, Path(folder, f"{name}.safetensors"))
        tokenizer = comfy.sd1_clip.SDTokenizer(embedding_directory=[folder])
        found = {text: tokenizer.tokenize_with_weights(text) for text in EMBEDDED}
    names = {value: key for key, value in values.items()}

    def plain(token: object) -> object:
        return names[float(token[0])] if isinstance(token, torch.Tensor) else token

    return {
        text: [[[plain(token), weight] for token, weight in chunk] for chunk in chunks]
        for text, chunks in found.items()
    }


def pictures(folder: Path) -> None:
    """One small picture of every kind that decoders tell apart; sides of 16 and more."""
    folder.mkdir(exist_ok=True)
    for before in folder.iterdir():
        before.unlink()
    rng = np.random.default_rng(3)

    def noise(channels: int) -> np.ndarray:
        return rng.integers(0, 256, (17, 18, channels), dtype=np.uint8)

    def image(channels: int) -> Image.Image:
        return Image.fromarray(noise(channels).squeeze())

    def save(made: Image.Image, name: str, **options: object) -> None:
        made.save(folder / name, **options)

    turned, mirrored = Image.Exif(), Image.Exif()
    turned[0x0112], mirrored[0x0112] = 6, 2
    save(image(3), "rgb.png")
    save(image(4), "rgba.png")
    save(image(1), "grey.png")
    save(Image.fromarray(noise(2), "LA"), "grey_alpha.png")
    save(Image.fromarray(rng.integers(0, 65536, (17, 18), dtype=np.uint16)), "grey16.png")
    save(Image.fromarray(noise(1)[..., 0] > 127), "bit.png")
    save(image(3).quantize(8), "palette.png")
    save(image(3).quantize(8), "palette_clear.png", transparency=bytes([0, 90, 200]))
    clear = noise(3)
    save(Image.fromarray(clear), "rgb_clear.png", transparency=tuple(clear[4, 5].tolist()))
    save(image(3), "turned.png", exif=turned)
    save(image(3), "mirrored.png", exif=mirrored)
    films = [[image(3) for _ in range(3)] for _ in range(3)]
    save(films[0][0], "film.png", save_all=True, append_images=films[0][1:])
    save(image(3), "photo.jpg")
    save(image(3), "photo_turned.jpg", subsampling=0, exif=turned)
    save(image(1), "photo_grey.jpg")
    save(Image.fromarray(noise(4), "CMYK"), "photo_cmyk.jpg")
    save(films[1][0], "two_views.mpo", save_all=True, append_images=films[1][1:2])
    save(image(3), "lossy.webp")
    save(image(4), "lossy_alpha.webp")
    save(image(4), "lossless.webp", lossless=True)
    save(films[1][0], "film.webp", save_all=True, append_images=films[1][1:], lossless=True)
    frames = [frame.quantize(16) for frame in films[2]]
    save(frames[0], "still.gif")
    options = {"transparency": 3, "disposal": 2}
    save(frames[0], "film.gif", save_all=True, append_images=frames[1:], **options)
    save(image(3), "rgb.bmp")
    save(image(3), "rgb.tiff", compression="tiff_lzw")


def read(folder: Path) -> dict[str, torch.Tensor]:
    nodes.folder_paths.set_input_directory(str(folder))
    loader, masker = nodes.LoadImage(), nodes.LoadImageMask()
    load, load_mask = getattr(loader, loader.FUNCTION), getattr(masker, masker.FUNCTION)
    found = {}
    for path in sorted(folder.iterdir()):
        image, mask = load(path.name)
        found[f"image {path.name}"] = image
        if mask.any():
            found[f"mask {path.name}"] = mask
        else:  # only how large it is
            found[f"no mask {path.name}"] = torch.tensor(mask.shape)
        for channel in ("alpha", "green"):
            (values,) = load_mask(path.name, channel)
            whole = mask if channel == "alpha" else image[..., 1]
            assert torch.equal(values, whole), f"LoadImageMask has pixels of its own: {path.name}"
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
    for name, made in (("tokens", tokens()), ("embedded_tokens", embedded())):
        text = json.dumps(made, ensure_ascii=True)
        (OUT / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    pictures(OUT / "pictures")
    tensors = resized() | read(OUT / "pictures")
    save_file({k: v.contiguous() for k, v in tensors.items()}, OUT / "resized.safetensors")
