"""LoRAs with which the known versions of Stable Diffusion draw pixel art, by their pages.

What is here was read on the day of `READ`, in stored copies of the publishers' pages on the hub,
whose month follows from the ages that they show ("9 months ago") and the dates of the changes that
they list. A LoRA is left out where a size, a licence, or weights that are no pickle could not be
read. A download goes by what the hub says on its day.
"""

from __future__ import annotations

from dataclasses import dataclass

from .models import SD15, SDXL, SingleFile, Version

READ = "2026-11-29"
"""The day on which the pages were read."""


@dataclass(frozen=True)
class Lora:
    """One published LoRA: one safetensors file, and the version that it changes."""

    key: str
    name: str
    base: Version
    hub_id: str
    file: SingleFile
    licence: str
    """As the page names it."""
    words: str
    """What the publisher asks a prompt to have; "" where nothing."""
    page_of: str
    """The month, or months, of the copy of the page."""

    @property
    def page(self) -> str:
        """The publisher's page."""
        return f"https://huggingface.co/{self.hub_id}"


LORAS: tuple[Lora, ...] = (
    Lora(
        "pixelart-redmond-15",
        "PixelArt.Redmond 1.5V",
        SD15,
        "artificialguybr/pixelartredmond-1-5v-pixel-art-loras-for-sd-1-5",
        SingleFile("PixelArtRedmond15V-PixelArt-PIXARFK.safetensors", 27_200_000),
        "bespoke-lora-trained-license",
        "Pixel Art, PixArFK",
        "November 2024 to February 2025",
    ),
    Lora(
        "pixel-art-xl",
        "Pixel Art XL",
        SDXL,
        "nerijs/pixel-art-xl",
        SingleFile("pixel-art-xl.safetensors", 171_000_000),
        "creativeml-openrail-m",
        "",
        "April 2025",
    ),
    Lora(
        "pixelart-redmond-xl",
        "PixelArt.Redmond",
        SDXL,
        "artificialguybr/PixelArtRedmond",
        SingleFile("PixelArtRedmond-Lite64.safetensors", 171_000_000),
        "creativeml-openrail-m",
        "Pixel Art, PixArFK",
        "September to December 2024",
    ),
)


def lora_named(text: str) -> Lora | None:
    """The LoRA of that name, file or hub id, in any case; None where there is none."""
    plain = text.strip().lower()
    for lora in LORAS:
        if plain in (lora.key, lora.hub_id.lower(), lora.file.name.lower()):
            return lora
    return None
