"""Palettes that people ask for by name, with who made them and where that is written down.

Only those with one agreed set of colours are here. The NES has none: its video chip makes a
television signal and no RGB, and every emulator decodes it in its own way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import BadInput
from ..ops.color import hex_color
from .palettes import Colour, Palette


@dataclass(frozen=True)
class WellKnown:
    """A palette with its author and the place where its colours are published."""

    palette: Palette
    author: str
    source: str


def by_name(name: str) -> Palette:
    """The palette of that name; capitals do not matter, nor do spaces, hyphens and underscores.

    Raises BadInput for an unknown name, and says those there are.
    """
    wanted = _letters(name)
    for key, known in WELL_KNOWN.items():
        if _letters(key) == wanted:
            return known.palette
    raise BadInput(f"No palette is called {name!r}. Those there are: {', '.join(WELL_KNOWN)}.")


def is_known(name: str) -> bool:
    """Whether `by_name` knows that name."""
    return _letters(name) in {_letters(key) for key in WELL_KNOWN}


def _letters(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


def _colours(text: str) -> tuple[Colour, ...]:
    return tuple(colour for part in text.split() if (colour := hex_color(part)) is not None)


def _ega() -> tuple[Colour, ...]:
    """The 64 colours of the EGA: bits 0 to 2 are blue, green, red at 2/3, bits 3 to 5 at 1/3."""

    def channel(number: int, bit: int) -> int:
        return 170 * (number >> bit & 1) + 85 * (number >> (bit + 3) & 1)

    return tuple((channel(one, 2), channel(one, 1), channel(one, 0)) for one in range(64))


_CGA = """
000000 0000aa 00aa00 00aaaa aa0000 aa00aa aa5500 aaaaaa
555555 5555ff 55ff55 55ffff ff5555 ff55ff ffff55 ffffff
"""

WELL_KNOWN: dict[str, WellKnown] = {
    key: WellKnown(Palette(name, colours), author, source)
    for key, name, author, source, colours in (
        (
            "pico-8",
            "PICO-8",
            "Lexaloffle Games",
            "lexaloffle.com/pico-8.php?page=manual, Screen",
            _colours(
                """
                000000 1d2b53 7e2553 008751 ab5236 5f574f c2c3c7 fff1e8
                ff004d ffa300 ffec27 00e436 29adff 83769c ff77a8 ffccaa
                """
            ),
        ),
        (
            "sweetie-16",
            "Sweetie 16",
            "GrafxKid",
            "lospec.com/palette-list/sweetie-16",
            _colours(
                """
                1a1c2c 5d275d b13e53 ef7d57 ffcd75 a7f070 38b764 257179
                29366f 3b5dc9 41a6f6 73eff7 f4f4f4 94b0c2 566c86 333c57
                """
            ),
        ),
        (
            "dawnbringer-16",
            "DawnBringer 16",
            "Richard Fhager (DawnBringer)",
            "lospec.com/palette-list/dawnbringer-16",
            _colours(
                """
                140c1c 442434 30346d 4e4a4e 854c30 346524 d04648 757161
                597dce d27d2c 8595a1 6daa2c d2aa99 6dc2ca dad45e deeed6
                """
            ),
        ),
        (
            "dawnbringer-32",
            "DawnBringer 32",
            "Richard Fhager (DawnBringer)",
            "lospec.com/palette-list/dawnbringer-32",
            _colours(
                """
                000000 222034 45283c 663931 8f563b df7126 d9a066 eec39a
                fbf236 99e550 6abe30 37946e 4b692f 524b24 323c39 3f3f74
                306082 5b6ee1 639bff 5fcde4 cbdbfc ffffff 9badb7 847e87
                696a6a 595652 76428a ac3232 d95763 d77bba 8f974a 8a6f30
                """
            ),
        ),
        (
            "game-boy",
            "Game Boy",
            "Nintendo",
            "the customary rendering of the DMG's four shades, which have no RGB of their own: "
            "en.wikipedia.org/wiki/List_of_video_game_console_palettes, Original Game Boy",
            _colours("0f380f 306230 8bac0f 9bbc0f"),
        ),
        (
            "commodore-64",
            "Commodore 64",
            "Commodore; computed by Philip Timmermann (Pepto)",
            "pepto.de/projects/colorvic/2001",
            _colours(
                """
                000000 ffffff 68372b 70a4b2 6f3d86 588d43 352879 b8c76f
                6f4f25 433900 9a6759 444444 6c6c6c 9ad284 6c5eb5 959595
                """
            ),
        ),
        (
            "colodore",
            "Colodore",
            "Commodore; computed by Philip Timmermann (Pepto)",
            "colodore.com, its values when the page opens",
            _colours(
                """
                000000 ffffff 813338 75cec8 8e3c97 56ac4d 2e2c9b edf171
                8e5029 553800 c46c71 4a4a4a 7b7b7b a9ff9f 706deb b2b2b2
                """
            ),
        ),
        (
            "cga",
            "CGA",
            "IBM",
            "the 16 colours as the IBM 5153 monitor shows them, brown for dark yellow; the EGA's "
            "first 16, too: en.wikipedia.org/wiki/Color_Graphics_Adapter, Color palette",
            _colours(_CGA),
        ),
        (
            "ega",
            "EGA",
            "IBM",
            "all 64, in the order of their numbers: IBM Enhanced Graphics Adapter, 1984; "
            "en.wikipedia.org/wiki/Enhanced_Graphics_Adapter, Color palette",
            _ega(),
        ),
    )
}
"""By the name that `by_name` takes."""
