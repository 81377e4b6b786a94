"""Captions as people word them: a grammar of templates, synonyms, filler and noise.

Some templates, tails and pairs of synonyms are kept out of training; ``held_out=True`` writes with
those alone, so the evaluation never reads a wording that was trained on.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

NOUNS: dict[str, tuple[str, ...]] = {
    "potion": (
        "potion",
        "potion bottle",
        "flask",
        "elixir",
        "vial",
        "health potion",
        "mana potion",
        "magic potion",
        "bottle",
    ),
    "sword": (
        "sword",
        "blade",
        "longsword",
        "long sword",
        "broadsword",
        "short sword",
        "shortsword",
        "dagger",
    ),
    "axe": ("axe", "battle axe", "hatchet", "war axe", "battleaxe"),
    "bow": ("bow", "longbow", "bow and arrow", "hunting bow", "archer bow"),
    "hammer": ("hammer", "war hammer", "mallet", "warhammer", "sledgehammer"),
    "staff": ("staff", "wand", "magic staff", "magic wand", "wizard staff", "scepter"),
    "shield": ("shield", "buckler", "knight shield", "round shield"),
    "helmet": ("helmet", "helm", "knight helmet", "visor helmet"),
    "armor": ("armor", "armour", "chestplate", "breastplate", "chest armor", "cuirass"),
    "boots": ("boots", "boot", "shoes", "pair of boots", "leather boots"),
    "ring": ("ring", "magic ring", "gem ring", "finger ring", "wedding ring"),
    "crown": ("crown", "king crown", "royal crown", "tiara", "queen crown"),
    "gem": ("gem", "gemstone", "jewel", "diamond", "crystal", "precious stone"),
    "key": ("key", "door key", "dungeon key", "skeleton key"),
    "coin": ("coin", "coins", "token", "medal", "money"),
    "chest": ("chest", "treasure chest", "loot chest", "treasure box"),
    "barrel": ("barrel", "cask", "keg", "wooden barrel"),
    "book": ("book", "spellbook", "tome", "spell book", "magic book", "grimoire"),
    "scroll": ("scroll", "parchment", "spell scroll", "magic scroll"),
    "bomb": ("bomb", "round bomb", "explosive", "cartoon bomb"),
    "lantern": ("lantern", "lamp", "oil lamp", "torch lamp"),
    "heart": ("heart", "life heart", "heart icon", "health heart", "hearts"),
    "star": ("star", "star icon", "power star", "stars"),
    "apple": ("apple", "fruit", "apple fruit", "apples"),
    "meat": ("meat", "drumstick", "chicken leg", "meat on bone", "ham", "roast meat"),
    "fish": ("fish", "raw fish", "trout", "goldfish"),
    "mushroom": ("mushroom", "toadstool", "mushrooms", "fungus", "shroom"),
    "flower": ("flower", "blossom", "bloom", "daisy", "flowers"),
    "tree": ("tree", "trees", "forest tree", "pine", "oak"),
    "cactus": ("cactus", "desert cactus", "cacti", "cactus plant"),
    "slime": ("slime", "slime monster", "blob", "jelly monster", "slime enemy"),
    "ghost": ("ghost", "spirit", "spook", "phantom", "ghost enemy"),
    "bat": ("bat", "vampire bat", "cave bat", "flying bat"),
    "spider": ("spider", "house spider", "spiders", "tarantula", "arachnid"),
    "dragon": ("dragon", "baby dragon", "wyvern", "drake", "winged dragon"),
    "skull": ("skull", "skeleton head", "skull icon", "human skull"),
    "bricks": ("bricks", "brick tile", "brick wall", "brick", "wall tile", "brick block"),
    "grass": ("grass", "grass tile", "grass block", "ground tile", "turf", "platform tile"),
}
"""How each subject is called; the first word is the one that evaluations use plainly."""

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "ruby", "cherry red", "blood red"),
    "orange": ("orange", "amber", "tangerine", "pumpkin orange"),
    "yellow": ("yellow", "golden", "gold", "lemon", "lemon yellow", "sunny yellow"),
    "green": ("green", "emerald", "lime", "forest green", "lime green", "olive"),
    "cyan": ("cyan", "teal", "turquoise", "aqua", "aquamarine"),
    "blue": ("blue", "azure", "navy", "sapphire", "royal blue", "cobalt", "navy blue"),
    "purple": ("purple", "violet", "lavender", "amethyst", "lilac", "indigo"),
    "pink": ("pink", "rose", "hot pink", "magenta", "rosy", "fuchsia"),
    "brown": ("brown", "chocolate", "chestnut", "tan", "umber", "mahogany"),
    "grey": ("grey", "gray", "silver", "slate", "ash grey", "silver gray"),
}
"""How each colour is called; the first word is the one that evaluations use plainly."""

STONES = {
    "ruby": "red",
    "emerald": "green",
    "sapphire": "blue",
    "amethyst": "purple",
    "topaz": "yellow",
}
"""Stones that name subject and colour at once when they stand alone."""

SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "tiny", "little", "mini"),
    "medium": ("medium sized", "normal sized"),
    "large": ("big", "large", "huge", "giant", "massive"),
}

SHADES = ("dark", "light", "bright", "deep", "vivid", "pale")

ADJECTIVES = (
    "shiny",
    "magic",
    "magical",
    "cute",
    "old",
    "ancient",
    "fancy",
    "glowing",
    "epic",
    "rare",
    "simple",
    "detailed",
    "beautiful",
    "medieval",
    "fantasy",
    "cool",
    "nice",
    "enchanted",
    "sparkling",
    "legendary",
    "mysterious",
    "cursed",
    "holy",
    "polished",
    "rusty",
    "plain",
    "stylized",
    "single",
    "lovely",
    "evil",
    "funny",
    "scary",
    "retro",
    "classic",
    "common",
    "cartoon",
    "shimmering",
)
_HELD_ADJECTIVES = ("gleaming", "mighty", "worn", "royal looking", "well made")

OPENERS = (
    "pixel art of",
    "pixel art",
    "sprite of",
    "a sprite of",
    "game sprite of",
    "an icon of",
    "icon of",
    "item icon of",
    "16 bit",
    "8 bit",
    "8-bit",
    "32x32",
    "2d sprite of",
    "game asset:",
    "drawing of",
    "picture of",
    "an image of",
    "image of",
    "retro game",
    "rpg",
    "pixelart",
    "please draw",
    "i want",
    "give me",
    "make",
    "generate",
    "create",
    "draw me",
    "inventory icon of",
    "one",
)
_HELD_OPENERS = (
    "a pixel art picture of",
    "show me",
    "i would like",
    "a small game icon showing",
    "can you draw",
    "a nice sprite with",
    "pixel style",
    "design of",
)

TAILS = (
    "pixel art",
    "game asset",
    "game sprite",
    "sprite",
    "item icon",
    "icon",
    "2d",
    "white background",
    "on white background",
    "on a white background",
    "plain white background",
    "plain background",
    "centered",
    "game item",
    "rpg item",
    "16-bit",
    "8 bit style",
    "retro style",
    "for a game",
    "clean outline",
    "high quality",
    "best quality",
    "sharp",
    "masterpiece",
    "video game",
    "isolated",
    "inventory item",
    "pixel perfect",
    "low res",
    "side view",
    "snes style",
    "crisp pixels",
    "flat colors",
    "front view",
    "dark outline",
    "isolated on white",
    "detailed",
    "game icon",
    "nes",
    "no text",
    "simple background",
    "transparent background",
    "for my rpg",
    "loot",
)
_HELD_TAILS = (
    "sprite for a platformer",
    "on a clean white backdrop",
    "as an inventory icon",
    "old school game art",
    "game-ready sprite",
    "64x64",
    "for my dungeon game",
    "chunky pixels",
)

WORKFLOW_TAILS = (
    "game sprite, centered, plain white background",
    "pixel art",
    "pixel art, game sprite, centered, plain white background",
    "pixel art, game asset, white background",
)
"""The texts that the shipped workflows put after a prompt."""

_CORES = (
    "{adj} {colour} {noun}",
    "{colour} {adj} {noun}",
    "{colour} {noun}",
    "a {colour} {noun}",
    "a {adj} {colour} {noun}",
    "the {colour} {noun}",
    "{noun}, {colour}",
    "{noun} {colour}",
    "{noun} in {colour}",
    "{adj} {noun} in {colour}",
    "a {noun}, {colour}",
    "{colour} colored {noun}",
    "{colour} coloured {noun}",
    "{noun} colored {colour}",
    "a {noun} that is {colour}",
    "{noun} with {colour} color",
    "{colour}, {noun}",
    "{noun} - {colour}",
    "{adj} {noun}, {colour}",
    "my {colour} {noun}",
    "some {colour} {noun}",
    "{colour} {noun} {colour}",
    "{noun}: {colour}",
)
_HELD_CORES = (
    "one {adj} {noun} of {colour} color",
    "an all {colour} {noun}",
    "a {noun} painted {colour}",
    "{adj}, {colour} {noun}",
    "the {noun} should be {colour}",
    "a {colour}, {adj} {noun}",
    "a single {colour} {adj} {noun}",
)
_NO_COLOUR = ("{noun}", "a {noun}", "{adj} {noun}", "a {adj} {noun}", "the {noun}", "one {noun}")
_NO_SUBJECT = (
    "{colour}",
    "something {colour}",
    "{colour} item",
    "{colour} sprite",
    "a {colour} thing",
    "{colour} game object",
    "anything {colour}",
    "{colour} stuff",
    "{adj} {colour} thing",
)

QUALITY = (
    "blurry",
    "photo",
    "text",
    "watermark",
    "low quality",
    "worst quality",
    "bad anatomy",
    "ugly",
    "deformed",
    "jpeg artifacts",
    "noise",
    "noisy",
    "signature",
    "realistic",
    "photograph",
    "3d",
    "render",
    "3d render",
    "cropped",
    "out of frame",
    "bad quality",
    "lowres",
    "blur",
    "smooth",
    "gradient",
    "antialiasing",
    "anti-aliased",
    "logo",
    "words",
    "letters",
    "frame",
    "border",
    "background",
    "complex background",
    "busy background",
    "shadow",
    "multiple",
    "duplicate",
    "nsfw",
    "artifacts",
    "grainy",
    "dull",
    "bad",
    "wrong",
    "extra",
    "mutated",
    "soft edges",
    "photorealistic",
    "people",
    "hands",
    "landscape",
    "error",
    "username",
    "scenery",
    "depth of field",
    "several objects",
    "many objects",
    "several",
    "objects",
    "collage",
    "sprite sheet",
)
"""What people write into negative texts; alone they mean the same as no text."""

_NOISE_TEXT = (
    "the quick fox jumps over lazy dog and then runs home again with friends who never saw "
    "any house mountain river before winter came down upon their village while mother father "
    "sister brother went out to buy some milk water salt paper window door table chair street "
    "city country people music dance song happy sad angry sleepy tired fast slow strong weak "
    "hot cold warm summer autumn spring morning evening night day week month year number "
    "letter word school teacher student doctor engine wheel car train plane boat ship ocean "
    "sea beach sand sky cloud rain snow wind storm thunder light shadow mirror glass metal "
    "plastic cotton silk wool rope chain box bag hat coat shirt glove sock belt button pocket "
    "clock phone camera screen button player level score hero villain quest dungeon castle "
    "tower bridge cave forest desert island volcano kingdom queen king prince princess knight "
    "wizard witch archer thief warrior farmer merchant guard monster enemy boss weapon tool "
    "loot item object thing stuff part piece collection set bundle pack cat dog horse cow pig "
    "sheep chicken duck goose rabbit mouse rat wolf bear lion tiger elephant monkey snake "
    "frog turtle bird eagle owl crow bee ant fly worm very really quite rather almost made "
    "from style artist trending unreal cinematic lighting ambient soft hard edge volumetric "
    "studio award winning concept illustration poster cover vector line shape color palette "
    "dither texture material surface pattern corner middle left right top bottom front back "
    "inside outside "
)

NOISE_WORDS = tuple(_NOISE_TEXT.split())
"""Words that mean nothing to the model, so that unknown ones do no harm."""


@dataclass(frozen=True)
class Caption:
    """A text and what it tells: None where it leaves something open."""

    text: str
    subject: str | None
    colour: str | None
    size: str | None


def pair_is_held_out(noun: str, colour: str) -> bool:
    """Whether this pair of wordings is kept out of training: one in eight, plain pairs never."""
    return zlib.crc32(f"{noun}|{colour}".encode()) % 8 == 0 and not _is_plain(noun, colour)


def _is_plain(noun: str, colour: str) -> bool:
    return noun in NOUNS and colour in COLOUR_WORDS


def _words(rng: random.Random, subject: str, colour: str, held_out: bool) -> tuple[str, str]:
    for _ in range(200):
        noun = rng.choice(NOUNS[subject]) if rng.random() < 0.65 else subject
        word = rng.choice(COLOUR_WORDS[colour]) if rng.random() < 0.55 else colour
        if pair_is_held_out(noun, word) == held_out or (held_out and _is_plain(noun, word)):
            return noun, word
    return subject, colour


def jumble(rng: random.Random) -> str:
    """A made-up word."""
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 9)))


def with_articles(text: str) -> str:
    """Turn "a orange" into "an orange"."""
    words = text.split(" ")
    for k in range(len(words) - 1):
        if words[k] == "a" and words[k + 1][:1] in "aeiou":
            words[k] = "an"
    return " ".join(words)


def _add_noise(rng: random.Random, text: str) -> str:
    words = text.split(" ")
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        noise = rng.choice(NOISE_WORDS) if rng.random() < 0.75 else jumble(rng)
        words.insert(rng.choice((0, len(words), rng.randrange(len(words) + 1))), noise)
    return " ".join(words)


def letter_case(rng: random.Random, text: str) -> str:
    chance = rng.random()
    if chance < 0.75:
        return text
    if chance < 0.9:
        return text[:1].upper() + text[1:]
    return text.title() if chance < 0.96 else text.upper()


def unconditional(rng: random.Random) -> str:
    """A text that asks for nothing: empty, or a list of quality words as negative texts have."""
    if rng.random() < 0.5:
        return ""
    words = rng.sample(QUALITY, rng.randint(1, 12))
    return letter_case(rng, rng.choice((", ", ", ", " ", ",")).join(words))


def write_caption(
    rng: random.Random, subject: str, colour: str, size: str, held_out: bool = False
) -> Caption:
    """A wording of one drawing; most name subject and colour, some leave one of them open.

    Held-out captions always name both.

    Raises:
        KeyError: for an unknown subject, colour or size.
    """
    noun, word = _words(rng, subject, colour, held_out)
    kind = 1.0 if held_out else rng.random()
    told_subject: str | None = subject
    told_colour: str | None = colour
    if kind < 0.08:
        core, told_colour = rng.choice(_NO_COLOUR), None
    elif kind < 0.12:
        core, told_subject = rng.choice(_NO_SUBJECT), None
    elif held_out:
        core = rng.choice(_HELD_CORES)
    else:
        core = rng.choice(_CORES)
    adjectives = _HELD_ADJECTIVES + ADJECTIVES if held_out else ADJECTIVES
    if told_colour and rng.random() < 0.12:
        word = f"{rng.choice(SHADES)} {word}"
    told_size: str | None = None
    adjective = rng.choice(adjectives)
    if rng.random() < 0.2:
        told_size = size
        adjective = rng.choice(SIZE_WORDS[size])
        if "{adj}" not in core:
            core = core.replace("{noun}", "{adj} {noun}", 1) if told_subject else "{adj} " + core
    text = core.format(adj=adjective, colour=word, noun=noun)
    if not held_out and subject == "gem" and told_subject and told_colour and rng.random() < 0.1:
        stones = [stone for stone, hue in STONES.items() if hue == colour]
        text, told_size = (stones[0], None) if stones else (text, told_size)
    text = _dress(rng, text, held_out)
    if not held_out and rng.random() < 0.15:
        text = _add_noise(rng, text)
    return Caption(letter_case(rng, with_articles(text)), told_subject, told_colour, told_size)


def _dress(rng: random.Random, text: str, held_out: bool) -> str:
    """Openers before and tails after the core."""
    openers, tails = (_HELD_OPENERS, _HELD_TAILS) if held_out else (OPENERS, TAILS)
    if rng.random() < 0.35:
        opener = rng.choice(openers)
        article = "a " if opener.endswith(("of", "draw", "me", "make", "want")) else ""
        starts = text.split(" ")[0] in ("a", "the", "one", "some", "my", "an")
        text = f"{opener} {'' if starts else article}{text}"
    chance = rng.random()
    if chance < 0.15:
        return f"{text}, {rng.choice(WORKFLOW_TAILS)}"
    if chance < 0.55:
        picked = rng.sample(tails, rng.choice((1, 1, 2, 2, 3, 5)))
        joiner = rng.choice((", ", ", ", " ", ","))
        if rng.random() < 0.15:
            return joiner.join([*picked, text])
        return joiner.join([text, *picked])
    return text


def plain_caption(subject: str, colour: str) -> str:
    """The plainest wording: "a red potion"."""
    return with_articles(f"a {colour} {subject}")
