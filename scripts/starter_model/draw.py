"""Draws game sprites with code: 38 subjects, each in ten colours, at 32x32 logical pixels."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, Mask, Placement, arc, box, oval, star
from .colours import (
    BONE,
    COLOURS,
    DARK,
    FIRE,
    GOLD,
    INK,
    LEAF,
    LEATHER,
    PAPER,
    STEEL,
    WHITE,
    WOOD,
)

Painter = Callable[[Canvas, random.Random], None]


def _potion(c: Canvas, r: random.Random) -> None:
    belly = r.uniform(8.5, 10.5)
    neck = r.uniform(2.6, 3.4)
    if r.random() < 0.6:
        body = [oval(16, 20, belly, 8.5)]
    else:
        body = [[(13, 11), (19, 11), (16 + belly, 25), (24, 28.5), (8, 28.5), (16 - belly, 25)]]
    c.part(c.mask(box(16 - neck + 0.6, 1.8, 16 + neck - 0.6, 6)), WOOD, 1)
    glass = c.part(c.mask(box(16 - neck, 6, 16 + neck, 13), *body))
    c.part(c.mask(box(16 - neck - 1.2, 6, 16 + neck + 1.2, 8.2)), None, 0)
    c.flat(c.stroke([(11, 17), (10, 20), (10.5, 22.5)], 1.6), c.main.shine, glass)
    c.dot(12.6, 14.6, c.main.shine, glass)
    for _ in range(3):
        c.dot(r.uniform(13, 20), r.uniform(17, 25), c.main.light, glass)


def _sword(c: Canvas, r: random.Random) -> None:
    width = r.uniform(3.0, 4.0)
    tip = 28.5

    # Drawn upright along the diagonal: along goes up right, across goes down right.
    def at(along: float, across: float) -> tuple[float, float]:
        root = math.sqrt(0.5)
        return 3 + (along + across) * root, 29 - (along - across) * root

    blade = [at(10, -width), at(tip, -width), at(tip + 5, 0), at(tip, width), at(10, width)]
    c.part(c.mask([at(2, -1.2), at(10, -1.2), at(10, 1.2), at(2, 1.2)]), LEATHER, 1)
    c.part(c.mask(oval(*at(2, 0), 1.6)), GOLD, 0)
    body = c.part(c.mask(blade), None, 0)
    c.flat(c.mask([at(10, 0), at(tip + 5, 0), at(tip, width), at(10, width)]), c.main.dark, body)
    c.flat(
        c.mask([at(10, -width), at(tip, -width), at(tip, -width + 1.4), at(10, -width + 1.4)]),
        c.main.light,
        body,
    )
    c.flat(c.stroke([at(11, -0.5), at(tip, -0.5)], 1), c.main.shine, body)
    guard = r.uniform(5, 6)
    c.part(c.mask([at(8.8, -guard), at(10.6, -guard), at(10.6, guard), at(8.8, guard)]), GOLD, 1)


def _axe(c: Canvas, r: random.Random) -> None:
    c.part(c.stroke([(15, 3), (15, 29.5)], 2.1), WOOD, 1)
    reach = r.uniform(11, 12.6)
    both = r.random() < 0.5
    for side in (1, -1) if both else (1,):
        head = [(15 + side * 0.5, 6.5), (15 + side * 4, 6.5)]
        head += [
            (15 + side * (reach - 3), 2),
            (15 + side * reach, 6),
            (15 + side * (reach + 0.6), 11.4),
            (15 + side * reach, 17),
            (15 + side * (reach - 3), 21),
        ]
        head += [(15 + side * 4, 15), (15 + side * 0.5, 15)]
        mask = c.part(c.mask(head))
        edge = c.stroke(
            [
                (15 + side * (reach - 2.4), 3),
                (15 + side * (reach - 0.4), 11.4),
                (15 + side * (reach - 2.4), 20),
            ],
            1.2,
        )
        c.flat(edge, c.main.shine, mask)
    c.part(c.mask(box(13.6, 7.6, 16.4, 13.6)), STEEL, 0)


def _bow(c: Canvas, r: random.Random) -> None:
    bend = r.uniform(11, 13)
    limb = arc(9, 16, bend, 13, -84, 84)
    c.flat(c.stroke([(10, 3.4), (10, 28.6)], 1), INK)
    c.part(c.stroke(limb, 4.6), None, 1)
    c.part(c.stroke(arc(9, 16, bend, 13, -9, 9), 4.2), LEATHER, 1)
    if r.random() < 0.6:
        c.flat(c.stroke([(3.5, 16), (27, 16)], 1.1), PAPER.dark)
        c.part(c.mask([(26.5, 13.6), (30.4, 16), (26.5, 18.4)]), STEEL, 0)


def _hammer(c: Canvas, r: random.Random) -> None:
    c.part(c.stroke([(16, 12), (16, 30)], 2.4), WOOD, 1)
    high = r.uniform(9, 11)
    wide = r.uniform(10.5, 12.5)
    head = c.part(c.mask(box(16 - wide, 3, 16 + wide, 3 + high)), None, 3)
    for x in (16 - wide + 3, 16 + wide - 3):
        c.flat(c.stroke([(x, 2), (x, 14)], 1.2), c.main.outline, head)
    c.flat(c.stroke([(16 - wide + 5, 5), (16 + wide - 6, 5)], 1), c.main.shine, head)


def _staff(c: Canvas, r: random.Random) -> None:
    c.part(c.stroke([(6, 29.5), (18, 14)], 2.6), WOOD, 1)
    c.part(c.stroke(arc(21, 10.5, 8, 8, 20, 190), 2.4), GOLD, 1)
    size = r.uniform(6.4, 7.6)
    orb = c.part(c.mask(oval(21, 10, size)))
    c.flat(c.mask(oval(18.6, 7.6, 1.7)), c.main.shine, orb)
    c.dot(24.5, 13.5, c.main.light, orb)


def _shield(c: Canvas, r: random.Random) -> None:
    kind = r.random()
    if kind < 0.65:

        def outline(inset: float) -> list[tuple[float, float]]:
            i = inset
            return [
                (4.5 + i, 4 + i),
                (16, 2.4 + i),
                (27.5 - i, 4 + i),
                (27 - i, 16),
                (23 - i, 23.5),
                (16, 29.8 - i * 1.2),
                (9 + i, 23.5),
                (5 + i, 16),
            ]
    else:

        def outline(inset: float) -> list[tuple[float, float]]:
            return oval(16, 16, 13 - inset)

    c.part(c.mask(outline(0)), STEEL, 1)
    face = c.part(c.mask(outline(2.2)), None, 3)
    style = r.randrange(3)
    if style == 0:
        c.flat(c.mask(box(14.6, 3, 17.4, 29)) | c.mask(box(3, 12, 29, 14.4)), c.main.shine, face)
    elif style == 1:
        c.part(c.mask(oval(16, 15.5, 3.4)), GOLD, 1)
    else:
        c.flat(c.mask(star(16, 15, 6, 2.6, 5)), c.main.shine, face)


def _helmet(c: Canvas, r: random.Random) -> None:
    if r.random() < 0.6:
        c.part(
            c.mask([(14, 8), (13, 2.5), (19, 1.5), (25, 4), (27.5, 10), (24, 8), (18, 7)]), GOLD, 1
        )
    dome = arc(16, 15, 11, 10, 180, 360)
    shell = c.part(c.mask([*dome, (27, 24), (22, 29), (10, 29), (5, 24)]), None, 3)
    slit = r.uniform(15, 16.5)
    c.flat(c.mask(box(8, slit, 24, slit + 3.2)), INK, shell)
    c.flat(c.mask(box(14.8, slit, 17.2, 28)), INK, shell)
    c.flat(c.stroke([(9, 11.5), (11.5, 8.6), (14, 7.6)], 1.4), c.main.shine, shell)
    for x in (9.5, 22):
        c.dot(x, 23, c.main.outline, shell)
        c.dot(x, 25.5, c.main.outline, shell)
    c.flat(c.stroke([(5, 13.6), (27, 13.6)], 1), c.main.dark, shell)


def _armor(c: Canvas, r: random.Random) -> None:
    flare = r.uniform(0, 1.5)
    for side in (-1, 1):
        c.part(c.mask(oval(16 + side * 9.6, 9, 4.6 + flare * 0.4, 5)), None, 2)
    body = c.part(
        c.mask(
            [
                (9, 5),
                (12.5, 4),
                (13.5, 7),
                (18.5, 7),
                (19.5, 4),
                (23, 5),
                (24.5, 13),
                (22, 20),
                (23.5 + flare, 29),
                (8.5 - flare, 29),
                (10, 20),
                (7.5, 13),
            ]
        ),
        None,
        3,
    )
    c.flat(c.stroke([(16, 8), (16, 20)], 1), c.main.outline, body)
    c.flat(c.stroke(arc(12.4, 12, 3.4, 3.4, 20, 160), 1), c.main.dark, body)
    c.flat(c.stroke(arc(19.6, 12, 3.4, 3.4, 20, 160), 1), c.main.dark, body)
    c.flat(c.mask(box(5, 19.6, 27, 22.4)), LEATHER.dark, body)
    c.flat(c.mask(box(14.4, 19.2, 17.8, 22.8)), GOLD.base, body)
    c.flat(c.stroke([(10.6, 8), (10.6, 11)], 1.2), c.main.shine, body)


def _boots(c: Canvas, r: random.Random) -> None:
    high = r.uniform(6, 9)
    for x in (9.0, 0.0):
        boot = c.part(
            c.mask(
                [
                    (6 + x, high),
                    (14 + x, high),
                    (14 + x, 19),
                    (20 + x, 22),
                    (21.4 + x, 26),
                    (6 + x, 26),
                ]
            ),
            None,
            2,
        )
        c.part(c.mask(box(6 + x, 26, 21.6 + x, 28)), DARK, 0)
        c.part(c.mask(box(5 + x, high - 1, 15 + x, high + 2.6)), None, 1)
        c.flat(c.stroke([(7.6 + x, high + 5), (7.6 + x, 21)], 1), c.main.shine, boot)
        c.flat(c.stroke([(11 + x, 16), (14 + x, 16)], 1), c.main.outline, boot)


def _ring(c: Canvas, r: random.Random) -> None:
    size = r.uniform(8.4, 9.4)
    outer, inner = c.mask(oval(16, 20.5, size)), c.mask(oval(16, 20.5, size - 3.9))
    c.part(outer & ~inner, None, 2)
    c.flat(
        c.stroke(arc(16, 20.5, size - 1.8, size - 1.8, 150, 215), 1.1), c.main.shine, outer & ~inner
    )
    stone = c.part(c.mask([(9.6, 6.4), (12.6, 2), (19.4, 2), (22.4, 6.4), (16, 13.4)]), None, 2)
    c.flat(c.mask([(12, 6.4), (13.6, 3.8), (16.6, 3.8), (15, 6.6)]), c.main.shine, stone)


def _gem(c: Canvas, r: random.Random) -> None:
    wide = r.uniform(11, 13)
    shoulder = r.uniform(10.5, 13)
    left, right = 16 - wide, 16 + wide
    body = c.part(
        c.mask(
            [
                (16 - wide * 0.6, 5),
                (16 + wide * 0.6, 5),
                (right, shoulder),
                (16, 28.5),
                (left, shoulder),
            ]
        ),
        None,
        0,
    )
    c.flat(c.mask([(left, shoulder), (10.5, shoulder), (16, 28.5)]), c.main.light, body)
    c.flat(c.mask([(right, shoulder), (21.5, shoulder), (16, 28.5)]), c.main.dark, body)
    c.flat(c.mask([(left, shoulder), (16 - wide * 0.6, 5), (10.5, shoulder)]), c.main.base, body)
    c.flat(c.mask([(right, shoulder), (16 + wide * 0.6, 5), (21.5, shoulder)]), c.main.dark, body)
    c.flat(c.mask([(10.5, shoulder), (13, 5), (19, 5), (21.5, shoulder)]), c.main.light, body)
    for line in (
        [(left, shoulder), (right, shoulder)],
        [(10.5, shoulder), (16, 28.5)],
        [(21.5, shoulder), (16, 28.5)],
        [(10.5, shoulder), (13.5, 5)],
        [(21.5, shoulder), (18.5, 5)],
    ):
        c.flat(c.stroke(line, 0.8), c.main.outline, body)
    c.flat(c.mask(box(12.6, 6.4, 15.4, 8.6)), c.main.shine, body)


def _key(c: Canvas, r: random.Random) -> None:
    size = r.uniform(6.8, 7.4)
    shaft = c.mask(box(14.2, 13, 17.8, 29.4))
    teeth = [box(17, 25.6, 23, 29.4), box(17, 20, 21.8, 23)]
    bow = c.mask(oval(16, 9, size)) & ~c.mask(oval(16, 9, size - 4))
    c.part(bow | shaft | c.mask(*teeth), None, 1)
    c.flat(c.stroke(arc(16, 9, size - 1.8, size - 1.8, 170, 260), 1), c.main.shine, bow)
    c.part(c.mask(box(12.8, 16.4, 19.2, 18)), None, 1)


def _coin(c: Canvas, r: random.Random) -> None:
    wide = r.choice((12.5, 12.0, 8.5))
    c.part(c.mask(oval(16.8, 16.4, wide, 12.5)), None, 0)
    c.part(c.mask(oval(15.6, 16, wide, 12.5)), None, 2)
    inner = c.mask(oval(15.6, 16, wide - 2.8, 9.7))
    c.flat(inner, c.main.dark)
    face = c.mask(oval(16.2, 16.6, wide - 3.4, 9.2))
    c.flat(face & inner, c.main.base)
    emblem = r.randrange(3)
    if emblem == 0:
        c.flat(c.mask(star(15.8, 16.4, min(wide - 4.4, 7), 2.8, 5)), c.main.shine)
    elif emblem == 1:
        c.flat(c.mask(box(14, 10.4, 17.6, 21.8)), c.main.shine)
        c.flat(c.mask(box(16.8, 10.4, 17.8, 21.8)), c.main.dark)
    else:
        c.flat(
            c.mask(
                [(15.8, 9.6), (15.8 + wide * 0.42, 16.2), (15.8, 22.8), (15.8 - wide * 0.42, 16.2)]
            ),
            c.main.light,
        )
    c.flat(c.stroke(arc(15.6, 16, wide - 1.4, 11.1, 190, 260), 1.1), c.main.shine)


def _chest(c: Canvas, r: random.Random) -> None:
    high = r.uniform(13.5, 15.5)
    body = c.part(c.mask(box(4, high, 28, 28)), None, 3)
    lid = c.part(c.mask([*arc(16, high, 12, high - 5, 180, 360)]), None, 2)
    for y in (high + 4.5, high + 9):
        c.flat(c.stroke([(4, y), (28, y)], 0.9), c.main.dark, body)
    c.flat(c.stroke(arc(16, high, 9, high - 8.4, 195, 345), 1), c.main.light, lid)
    for x in (5.6, 26.4):
        c.flat(c.mask(box(x - 1.6, 4, x + 1.6, 28.4)), GOLD.base, body | lid)
        c.flat(c.mask(box(x + 0.6, 4, x + 1.6, 28.4)), GOLD.dark, body | lid)
    c.flat(c.stroke([(4, high), (28, high)], 1.3), c.main.outline)
    c.part(c.mask(box(13.4, high - 2, 18.6, high + 4)), GOLD, 1)
    c.dot(16, high + 1.4, INK)


def _barrel(c: Canvas, r: random.Random) -> None:
    bulge = r.uniform(10.5, 12)
    side = [
        (7.5, 3.5),
        (24.5, 3.5),
        (16 + bulge, 10),
        (16 + bulge + 0.5, 16),
        (16 + bulge, 22),
        (24.5, 28.8),
        (7.5, 28.8),
        (16 - bulge, 22),
        (16 - bulge - 0.5, 16),
        (16 - bulge, 10),
    ]
    body = c.part(c.mask(side), None, 4)
    for x in (11, 16, 21):
        bend = (x - 16) * 0.2
        c.flat(c.stroke([(x, 3.5), (x + bend, 16), (x, 28.8)], 0.9), c.main.outline, body)
    for y in (8.2, 24):
        c.flat(c.stroke([(2, y), (30, y)], 2.2), STEEL.dark, body)
        c.flat(c.stroke([(2, y - 0.8), (22, y - 0.8)], 0.8), STEEL.light, body)
    c.flat(c.stroke([(8.6, 12), (8.6, 19)], 1.1), c.main.shine, body)


def _book(c: Canvas, r: random.Random) -> None:
    c.part(c.mask([(6, 5), (26, 3), (27, 27), (7, 29.5)]), None, 0)
    c.part(c.mask([(9, 25.5), (26, 23.6), (26, 26.8), (9, 28.4)]), PAPER, 0)
    cover = c.part(c.mask([(5, 4), (24.5, 2.2), (26, 23.6), (6.5, 26)]), None, 2)
    c.flat(c.mask([(5, 4), (8, 3.8), (9.5, 25.6), (6.5, 26)]), c.main.dark, cover)
    style = r.randrange(3)
    if style == 0:
        c.flat(c.mask(star(16.8, 13.6, 5.6, 2.4, 5)), GOLD.base, cover)
    elif style == 1:
        c.flat(c.mask([(16.8, 7), (21.4, 13.4), (17.4, 20), (12.8, 13.8)]), GOLD.base, cover)
        c.flat(c.mask(oval(17, 13.4, 1.8)), c.main.dark, cover)
    else:
        for y in (8, 11.6, 15.2):
            c.flat(c.stroke([(12, y + 0.8), (21.6, y)], 1.2), GOLD.base, cover)
    c.flat(c.stroke([(9.6, 4.4), (23, 3.2)], 0.9), c.main.shine, cover)


def _scroll(c: Canvas, r: random.Random) -> None:
    wide = r.uniform(8, 9.2)
    sheet = c.part(c.mask(box(16 - wide, 6, 16 + wide, 26)), None, 1)
    for y in (10.6, 13.6, 16.6, 19.6):
        length = r.uniform(3, wide - 2)
        c.flat(c.stroke([(16 - wide + 3, y), (16 + length, y)], 1), c.main.outline, sheet)
    for y in (5, 26.6):
        roll = c.part(c.mask(box(16 - wide - 2.4, y - 2.6, 16 + wide + 2.4, y + 2.6)), None, 2)
        c.flat(c.stroke([(16 - wide - 1, y - 1.4), (16 + wide, y - 1.4)], 1), c.main.shine, roll)
        for x in (16 - wide - 3.4, 16 + wide + 3.4):
            c.part(c.mask(box(x - 1, y - 1.6, x + 1, y + 1.6)), WOOD, 0)


def _bomb(c: Canvas, r: random.Random) -> None:
    size = r.uniform(10, 11.4)
    c.part(c.stroke([(19, 9), (22.5, 5.5), (26, 5.6)], 1.6), LEATHER, 0)
    ball = c.part(c.mask(oval(14.6, 19, size)), None, 3)
    c.part(c.mask([(15.4, 8.6), (19.4, 6.4), (22, 9.8), (18.2, 12.4)]), STEEL, 1)
    c.flat(c.mask(oval(10.4, 14.6, 2.4, 2)), c.main.shine, ball)
    c.dot(8.6, 19, c.main.light, ball)
    c.flat(c.mask(star(27, 5, 4.6, 1.8, 4)), FIRE.dark)
    c.flat(c.mask(oval(27, 5, 1.6)), FIRE.light)


def _lantern(c: Canvas, r: random.Random) -> None:
    c.part(c.stroke(arc(16, 7, 5, 4.4, 180, 360), 1.5), None, 0)
    c.part(c.mask([(13, 5.4), (19, 5.4), (24, 10.6), (8, 10.6)]), None, 2)
    wide = r.uniform(7.4, 8.6)
    glass = c.part(c.mask(box(16 - wide, 10.6, 16 + wide, 24.4)), FIRE, 0)
    c.flat(c.mask(oval(16, 18.4, 3, 4.6)), FIRE.shine, glass)
    for x in (16 - wide + 0.8, 16 + wide - 0.8):
        c.part(c.mask(box(x - 1.9, 10.6, x + 1.9, 24.4)), None, 1)
    c.part(c.mask(box(14.9, 10.6, 17.1, 13.4)), None, 0)
    c.part(c.mask([(8.4, 24), (23.6, 24), (25.6, 29), (6.4, 29)]), None, 2)


def _heart(c: Canvas, r: random.Random) -> None:
    lobe = r.uniform(6.6, 7.4)
    body = c.part(
        c.mask(
            oval(10, 11.4, lobe), oval(22, 11.4, lobe), [(3.8, 14), (16, 9), (28.2, 14), (16, 28.8)]
        ),
        None,
        3,
    )
    c.flat(c.mask(oval(8.8, 9.6, 2.4, 2)), c.main.shine, body)
    c.dot(6.4, 13.4, c.main.shine, body)


def _star(c: Canvas, r: random.Random) -> None:
    body = c.part(c.mask(star(16, 17, 14.4, r.uniform(6.2, 7.2), 5)), None, 2)
    c.flat(c.stroke([(16, 8), (13.4, 13)], 1.4), c.main.shine, body)
    if r.random() < 0.4:
        for x in (13, 19):
            c.flat(c.mask(box(x - 0.8, 15, x + 0.9, 18.4)), INK, body)


def _apple(c: Canvas, r: random.Random) -> None:
    fat = r.uniform(7.2, 8.2)
    c.part(c.stroke([(16, 10), (17.4, 4)], 1.8), WOOD, 0)
    c.part(c.mask([(17.6, 7), (20, 3.6), (25, 2.8), (23.6, 6.4)]), LEAF, 1)
    body = c.part(
        c.mask(oval(11.8, 17, fat, 9), oval(20.2, 17, fat, 9), oval(16, 22, 7, 6.6)), None, 3
    )
    c.flat(c.stroke([(13.6, 9.4), (16, 11), (18.4, 9.4)], 1), c.main.outline, body)
    c.flat(c.mask(oval(9.4, 13.8, 1.8, 2.6)), c.main.shine, body)


def _meat(c: Canvas, r: random.Random) -> None:
    bone = c.mask(oval(25, 5.2, 2.3), oval(27.4, 7.8, 2.3)) | c.stroke([(17, 15), (26, 6.4)], 3)
    c.part(bone, BONE, 1)
    fat = r.uniform(8, 9.4)
    leg = c.part(
        c.mask(oval(12, 20, fat + 1, fat), [(13, 11.6), (20.4, 9.8), (22.6, 12.4), (20, 19.6)]),
        None,
        3,
    )
    c.flat(c.stroke(arc(11.6, 19.6, fat - 2.6, fat - 3, 175, 260), 1.6), c.main.shine, leg)
    for _ in range(3):
        c.dot(r.uniform(10, 17), r.uniform(18, 25), c.main.dark, leg)


def _fish(c: Canvas, r: random.Random) -> None:
    high = r.uniform(7, 8.8)
    c.part(c.mask([(20, 16), (29.6, 8.4), (27.8, 16), (29.6, 23.6)]), None, 2)
    c.part(c.mask([(10, 10), (15, 4.8), (20.6, 6.4), (19, 11)]), None, 1)
    body = c.part(c.mask(oval(13, 16, 10.6, high)), None, 3)
    c.flat(c.mask(oval(11, 16 + high * 0.7, 8, 2.6)), c.main.light, body)
    c.flat(c.stroke(arc(7, 16, 4.4, high - 1, -70, 70), 0.9), c.main.outline, body)
    c.part(c.mask([(14, 17), (18.6, 19.6), (14, 20.6)]), None, 0, outline=False)
    for x, y in ((15, 13.6), (18, 15.4), (15.6, 17.4)):
        c.flat(c.stroke(arc(x, y, 1.6, 1.6, -60, 60), 0.8), c.main.dark, body)
    c.flat(c.mask(oval(6.8, 13.6, 1.7)), WHITE, body)
    c.dot(6.8, 13.8, INK)


def _mushroom(c: Canvas, r: random.Random) -> None:
    stem = r.uniform(4, 5.4)
    c.part(
        c.mask([(16 - stem, 16), (16 + stem, 16), (16 + stem + 1, 28.6), (16 - stem - 1, 28.6)]),
        BONE,
        2,
    )
    cap = c.part(
        c.mask([*arc(16, 17, 13, r.uniform(12.4, 14), 180, 360), (27, 20), (5, 20)]), None, 3
    )
    for x, y, size in ((10, 13, 2.3), (18.6, 9, 2.5), (23.6, 15, 1.9), (15.6, 15.8, 1.4)):
        c.flat(c.mask(oval(x + r.uniform(-0.6, 0.6), y, size)), c.main.shine, cap)


def _flower(c: Canvas, r: random.Random) -> None:
    c.part(c.stroke([(16, 16), (16, 30)], 1.8), LEAF, 0)
    c.part(c.mask([(16, 28), (19, 23), (25, 22), (22.6, 27)]), LEAF, 1)
    petals = r.choice((5, 6))
    turn = r.uniform(0, 60)
    for k in range(petals):
        angle = math.radians(turn + 360 * k / petals)
        c.part(c.mask(oval(16 + 6.4 * math.cos(angle), 11 + 6.4 * math.sin(angle), 4.6)), None, 2)
    c.part(c.mask(oval(16, 11, 3.4)), LEATHER if c.main.base == COLOURS["yellow"].base else GOLD, 1)


def _tree(c: Canvas, r: random.Random) -> None:
    c.part(c.mask([(14, 20), (18, 20), (18.6, 28), (21, 30), (11, 30), (13.4, 28)]), WOOD, 2)
    if r.random() < 0.5:
        crown = c.part(
            c.mask(oval(9.6, 15.4, 6.4), oval(22.4, 15.4, 6.4), oval(16, 9, 7.6), oval(16, 17, 7)),
            None,
            3,
        )
        for x, y in ((12, 7.4), (8, 14), (18.6, 12.6), (22.4, 13)):
            c.flat(
                c.stroke(arc(x, y, 2.2, 2, 190, 300), 1.1),
                c.main.shine if y < 10 else c.main.light,
                crown,
            )
        for x, y in ((14, 17.6), (20.4, 18.6), (17, 9)):
            c.flat(c.stroke(arc(x, y, 2, 1.8, 10, 130), 1), c.main.dark, crown)
    else:
        for y, wide in ((21.4, 11.4), (15.6, 9.2), (10, 6.8)):
            c.part(
                c.mask([(16, y - 8.6), (16 + wide, y + 1), (16, y + 3), (16 - wide, y + 1)]),
                None,
                3,
            )


def _cactus(c: Canvas, r: random.Random) -> None:
    lean = r.uniform(-1.4, 1.4)
    c.part(c.mask([(9, 25), (23, 25), (21.4, 30), (10.6, 30)]), WOOD, 2)
    c.part(c.stroke([(16, 20), (8, 20 - lean), (7.2, 19 - lean), (7.2, 12.6)], 4), None, 1)
    c.part(c.stroke([(16, 17.6), (24, 17.6 + lean), (24.8, 16.6), (24.8, 9)], 4), None, 1)
    trunk = c.part(c.mask(oval(16, 8, 4.6, 5), box(11.4, 8, 20.6, 25)), None, 2)
    for x in (14, 17.6):
        c.flat(c.stroke([(x, 6.6), (x, 24.6)], 0.9), c.main.dark, trunk)
    for x, y in ((12.6, 11), (16, 9), (16, 14), (16, 20), (12.6, 17), (19.2, 13), (19.2, 21)):
        c.dot(x, y, c.main.shine)


def _slime(c: Canvas, r: random.Random) -> None:
    high = r.uniform(14, 18)
    top = 28 - high
    body = c.part(
        c.mask(
            [
                (3.4, 27),
                (3.6, 23),
                *arc(16, top + high * 0.72, 11, high * 0.72, 190, 350),
                (28.4, 23),
                (28.6, 27),
                (26, 28.8),
                (6, 28.8),
            ]
        ),
        None,
        3,
    )
    eyes = top + high * 0.55
    for x in (12, 20):
        c.flat(c.mask(box(x - 1.2, eyes - 1.8, x + 1.2, eyes + 1.8)), INK, body)
        c.dot(x - 0.6, eyes - 1.2, WHITE)
    c.flat(c.stroke([(14.4, eyes + 4), (16, eyes + 4.8), (17.6, eyes + 4)], 1), INK, body)
    c.flat(c.mask(oval(9.6, eyes - 4, 2, 1.6)), c.main.shine, body)


def _ghost(c: Canvas, r: random.Random) -> None:
    foot = r.uniform(26.6, 29)
    hem = [
        (26.6, 28.6),
        (23, foot - 3),
        (19.6, 28.8),
        (16, foot - 3.2),
        (12.4, 28.8),
        (9, foot - 3),
        (5.4, 28.6),
    ]
    body = c.part(c.mask([*arc(16, 13.4, 10.6, 10.8, 180, 360), *hem]), None, 2)
    for side in (-1, 1):
        c.part(c.mask(oval(16 + side * 11, 18, 2.6, 2)), None, 1)
    for x in (12, 20):
        c.flat(c.mask(oval(x, 12.6, 2, 2.9)), INK, body)
        c.dot(x - 0.8, 11, WHITE)
    c.flat(c.mask(oval(16, 19, 1.9, 2.2)), INK, body)
    c.flat(c.stroke(arc(16, 13.4, 8, 8.4, 200, 250), 1.3), c.main.shine, body)


def _bat(c: Canvas, r: random.Random) -> None:
    lift = r.uniform(4.5, 7.5)
    for side in (-1, 1):
        wing = [
            (16 + side * 2, 14),
            (16 + side * 6, lift + 4),
            (16 + side * 10, lift),
            (16 + side * 14.6, lift + 6),
            (16 + side * 15, 19),
            (16 + side * 12, 16.4),
            (16 + side * 9.6, 20.4),
            (16 + side * 7, 17.4),
            (16 + side * 4, 21.4),
        ]
        mask = c.part(c.mask(wing), None, 2)
        for x in (7.0, 12.0):
            c.flat(
                c.stroke([(16 + side * 9.8, lift + 2), (16 + side * x, 19)], 0.9), c.main.dark, mask
            )
    for side in (-1, 1):
        c.part(
            c.mask([(16 + side * 0.6, 10), (16 + side * 4.6, 4.6), (16 + side * 4.8, 12)]), None, 0
        )
    body = c.part(c.mask(oval(16, 15.6, 5.2, 6.8)), None, 2)
    for x in (14.0, 18.0):
        c.flat(c.mask(box(x - 0.8, 12.6, x + 1, 14.8)), WHITE, body)
        c.dot(x, 14, INK)
    for x in (14.6, 17.4):
        c.dot(x, 18, WHITE, body)


def _spider(c: Canvas, r: random.Random) -> None:
    spread = r.uniform(12.4, 14)
    for side in (-1, 1):
        for hip, knee, foot in ((15, 6, 12), (17, 10.6, 18.4), (19, 18, 24), (20.6, 22.6, 29)):
            points = [
                (16 + side * 4, hip),
                (16 + side * (spread - 3), knee),
                (16 + side * spread, foot),
            ]
            mask = c.stroke(points, 1.9)
            c.flat(mask, c.main.outline if foot in (12, 24) else c.main.dark)
    body = c.part(c.mask(oval(16, 19.6, 7.6, 8)), None, 3)
    c.flat(c.mask([(16, 16), (19, 20), (16, 24.4), (13, 20)]), c.main.shine, body)
    head = c.part(c.mask(oval(16, 10, 5, 4.4)), None, 2)
    for x in (13.8, 18):
        c.flat(c.mask(oval(x, 9.6, 1.2)), WHITE, head)
        c.dot(x, 10, INK)
    c.dot(14.6, 13, INK)
    c.dot(17.4, 13, INK)


def _dragon(c: Canvas, r: random.Random) -> None:
    lift = r.uniform(2, 5)
    c.part(c.stroke([(17, 26), (25, 27.4), (28.4, 23), (27.4, 20)], 2.6), None, 1)
    c.part(
        c.mask(
            [
                (17, 17),
                (20, lift),
                (30, lift + 1.6),
                (28, 9.6),
                (30, 14),
                (25.4, 14.6),
                (25, 19.4),
                (19, 20),
            ]
        ),
        None,
        3,
    )
    body = c.part(c.mask(oval(15.4, 22, 6.6, 7.4)), None, 3)
    c.flat(c.mask(oval(13, 23, 3.2, 5.2)), PAPER.base, body)
    for y in (20.4, 23, 25.6):
        c.flat(c.stroke([(10, y), (16, y)], 0.8), PAPER.dark, c.mask(oval(13, 23, 3.2, 5.2)) & body)
    for x in (11, 18.6):
        c.part(c.mask(oval(x, 28.6, 2.8, 1.6)), None, 0)
    c.part(c.mask([(14, 6), (17.4, 1.6), (17.6, 7)]), BONE, 0)
    head = c.part(
        c.mask(oval(13.6, 10.4, 6, 5.6), [(10, 9), (2.6, 10.6), (2.4, 14), (10, 15.6)]), None, 2
    )
    c.flat(c.mask(box(10.6, 8, 13, 11)), WHITE, head)
    c.flat(c.mask(box(10.6, 8.6, 12, 11)), INK, head)
    c.dot(4.6, 11.6, INK, head)
    c.flat(c.stroke([(3.4, 13.4), (10, 13.8)], 0.8), c.main.outline, head)


def _skull(c: Canvas, r: random.Random) -> None:
    jaw = r.uniform(5.4, 7)
    c.part(c.mask(box(16 - jaw, 20, 16 + jaw, 28.6)), None, 1)
    head = c.part(
        c.mask(oval(16, 13.4, 12, 10.8), [(5.4, 16), (26.6, 16), (24, 22.4), (8, 22.4)]), None, 3
    )
    for x in (11.0, 21.0):
        c.flat(c.mask(oval(x, 14.6, 3.3, 3.5)), INK, head)
    c.flat(c.mask([(16, 18), (17.9, 21.4), (14.1, 21.4)]), INK, head)
    for x in (12.6, 16, 19.4):
        c.flat(c.stroke([(x, 24), (x, 28.6)], 1), INK)
    c.flat(c.stroke(arc(16, 13.4, 9.6, 8.4, 200, 255), 1.5), c.main.shine, head)


def _bricks(c: Canvas, r: random.Random) -> None:
    c.part(c.mask(box(2.5, 2.5, 29.5, 29.5)), None, 0)
    c.flat(c.mask(box(2.5, 2.5, 29.5, 29.5)), c.main.outline)
    rows = r.choice((4, 5))
    high = 27 / rows
    half = r.randrange(2)
    for row in range(rows):
        top = 2.5 + row * high
        edges = [2.5, 11.5, 20.5, 29.5] if (row + half) % 2 else [2.5, 7, 16, 25, 29.5]
        for left, right in pairwise(edges):
            brick = c.mask(box(left + 0.5, top + 0.5, right - 0.5, top + high - 0.5))
            ramp = c.main.tinted(r.uniform(0.94, 1.06))
            c.part(brick, ramp, 1, outline=False)


def _grass(c: Canvas, r: random.Random) -> None:
    earth = c.part(c.mask(box(2.5, 16, 29.5, 29.5)), LEATHER, 0)
    for _ in range(7):
        x, y = r.uniform(4, 27), r.uniform(23, 28)
        c.flat(
            c.mask(box(x, y, x + 2, y + 1.2)),
            LEATHER.dark if r.random() < 0.5 else LEATHER.light,
            earth,
        )
    bottom: list[tuple[float, float]] = []
    for k in range(7):
        right = 29.5 - k * 27 / 7
        bottom += [(right, r.uniform(21.6, 24)), (right - 27 / 14, r.uniform(17, 19))]
    blades: list[tuple[float, float]] = [(2.5, 20)]
    for k in range(9):
        blades += [(2.5 + k * 3, r.uniform(8, 9.4)), (4 + k * 3, r.uniform(3, 6.4))]
    blades += [(29.5, 8)]
    turf = c.part(c.mask([*blades, *bottom]), None, 2)
    for _ in range(7):
        x, y = r.uniform(4, 27), r.uniform(10, 17)
        c.flat(
            c.stroke([(x, y), (x + 1, y - 2.4)], 1),
            c.main.light if r.random() < 0.6 else c.main.dark,
            turf,
        )


def _crown(c: Canvas, r: random.Random) -> None:
    dip = r.uniform(14, 16.4)
    body = c.part(
        c.mask([(5, 27), (3.4, 8.4), (10, dip), (16, 5), (22, dip), (28.6, 8.4), (27, 27)]), None, 2
    )
    for x, y in ((3.6, 7.4), (16, 4.4), (28.4, 7.4)):
        c.part(c.mask(oval(x, y, 1.8)), None, 0)
    c.flat(c.mask(box(4, 22, 28, 24)), c.main.dark, body)
    for x in (9.4, 16, 22.6):
        c.flat(c.mask(oval(x, 20, 1.6)), WHITE if x == 16 else c.main.shine, body)
    c.flat(c.stroke([(7, 13), (7.4, 18)], 1.1), c.main.shine, body)


@dataclass(frozen=True)
class Subject:
    """How one subject is drawn: its painter, how far it may turn, whether it may be mirrored."""

    paint: Painter
    turn: float = 4.0
    mirror: bool = True


SUBJECTS: dict[str, Subject] = {
    "potion": Subject(_potion, 8),
    "sword": Subject(_sword, 8),
    "axe": Subject(_axe, 12),
    "bow": Subject(_bow, 10),
    "hammer": Subject(_hammer, 14),
    "staff": Subject(_staff, 8),
    "shield": Subject(_shield, 4),
    "helmet": Subject(_helmet, 3),
    "armor": Subject(_armor, 2),
    "boots": Subject(_boots, 2),
    "ring": Subject(_ring, 12),
    "crown": Subject(_crown, 6),
    "gem": Subject(_gem, 6),
    "key": Subject(_key, 8),
    "coin": Subject(_coin, 4),
    "chest": Subject(_chest, 2),
    "barrel": Subject(_barrel, 2),
    "book": Subject(_book, 8),
    "scroll": Subject(_scroll, 10),
    "bomb": Subject(_bomb, 6),
    "lantern": Subject(_lantern, 4),
    "heart": Subject(_heart, 5),
    "star": Subject(_star, 8),
    "apple": Subject(_apple, 6),
    "meat": Subject(_meat, 10),
    "fish": Subject(_fish, 8),
    "mushroom": Subject(_mushroom, 5),
    "flower": Subject(_flower, 5),
    "tree": Subject(_tree, 2),
    "cactus": Subject(_cactus, 3),
    "slime": Subject(_slime, 2),
    "ghost": Subject(_ghost, 5),
    "bat": Subject(_bat, 6),
    "spider": Subject(_spider, 4),
    "dragon": Subject(_dragon, 3),
    "skull": Subject(_skull, 4),
    "bricks": Subject(_bricks, 0),
    "grass": Subject(_grass, 0),
}
"""Every subject by the name that captions, judge and evaluation use."""

SIZES = ("small", "medium", "large")
_SCALES = {"small": (0.73, 0.81), "medium": (0.82, 0.95), "large": (0.97, 1.04)}


@dataclass(frozen=True)
class Drawing:
    """One drawing and what it shows."""

    pixels: NDArray[np.uint8]
    """(32, 32, 3) RGB on white."""
    opaque: Mask
    """(32, 32): which pixels belong to the sprite."""
    subject: str
    colour: str
    size: str


def place(subject: Subject, size: str, rng: random.Random) -> Placement:
    """A random placement that keeps a full-size sprite on the canvas."""
    low, high = _SCALES[size]
    scale = rng.uniform(low, high)
    slack = 16 * (1.04 - scale) * 0.5
    return Placement(
        shift_x=rng.uniform(-slack, slack),
        shift_y=rng.uniform(-slack, slack),
        scale_x=scale * rng.uniform(0.95, 1.03),
        scale_y=scale * rng.uniform(0.95, 1.03),
        angle=rng.uniform(-subject.turn, subject.turn),
        mirror=subject.mirror and rng.random() < 0.5,
    )


def draw(subject: str, colour: str, seed: int, size: str | None = None) -> Drawing:
    """Draw one sprite; the same arguments always give the same pixels.

    Args:
        subject: a key of ``SUBJECTS``.
        colour: a key of ``COLOURS``.
        seed: decides size, proportions, shape, shade and place, the same in every colour.
        size: one of ``SIZES``, or None to let the seed decide.

    Raises:
        KeyError: for an unknown subject, colour or size.
    """
    rng = random.Random(f"{subject}/{seed}")
    chosen = size or rng.choice(SIZES)
    kind = SUBJECTS[subject]
    canvas = Canvas(COLOURS[colour].tinted(rng.uniform(0.93, 1.05)), place(kind, chosen, rng))
    kind.paint(canvas, rng)
    return Drawing(canvas.pixels, canvas.opaque, subject, colour, chosen)


def enlarge(pixels: NDArray[np.uint8], side: int = 64) -> NDArray[np.uint8]:
    """Repeat every logical pixel so that the picture is ``side`` pixels wide.

    Raises:
        ValueError: if ``side`` is no multiple of the drawing's width.
    """
    factor, rest = divmod(side, pixels.shape[1])
    if rest or factor < 1:
        raise ValueError(f"side {side} is no multiple of {pixels.shape[1]}")
    return np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1)
