"""What ComfyUI's own editor makes of small canvas files that are made here, one for each rule.

record_canvas.py records them: tests/data/editor/CASE.json holds the file and the graph that the
editor sends for it; object_info.json the classes that they use.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from canvas_editor import Editor

HERE = Path(__file__).resolve().parent
TARGET = HERE / "editor"
# Options without a say in the values.
_TEXTS = ("tooltip", "display_name", "advanced")

Raw = dict[str, Any]


class Sheet:
    """The nodes and links of a canvas, or of a subgraph."""

    def __init__(self, object_info: Raw) -> None:
        self.object_info = object_info
        self.nodes: list[Raw] = []
        self.links: list[list[Any]] = []

    def add(
        self,
        kind: str,
        *values: Any,
        number: int | None = None,
        into: dict[str, tuple[int, int]] | None = None,
        **more: Any,
    ) -> int:
        """Put a node here; `into` are (node, output) by the name of the input they go to."""
        number = number or 1 + max((node["id"] for node in self.nodes), default=0)
        node = {
            "id": number,
            "type": kind,
            "pos": [300 * len(self.nodes), 0],
            "size": [270, 100],
            "flags": {},
            "order": len(self.nodes),
            "mode": 0,
            "inputs": self._inputs(kind),
            "outputs": self._outputs(kind),
            "properties": {},
            "widgets_values": list(values),
            **more,
        }
        self.nodes.append(node)
        for name, (origin, slot) in (into or {}).items():
            self.join(origin, slot, number, name)
        return number

    def join(self, origin: int, slot: int, target: int, name: str) -> None:
        """Put a link from an output to an input, which is listed if it was not yet."""
        link = len(self.links) + 1
        node = self.node(target)
        at = next((place for place, one in enumerate(node["inputs"]) if one["name"] == name), None)
        if at is None:
            at = len(node["inputs"])
            node["inputs"].append(self._input(node["type"], name))
        node["inputs"][at]["link"] = link
        given = "*"
        if origin > 0:
            outputs = self.node(origin)["outputs"]
            outputs[slot]["links"] = [*(outputs[slot]["links"] or []), link]
            given = outputs[slot]["type"]
        self.links.append([link, origin, slot, target, at, given])

    def node(self, number: int) -> Raw:
        """A node by its id."""
        return next(node for node in self.nodes if node["id"] == number)

    def canvas(self, *definitions: Raw, **extra: Any) -> Raw:
        """The file, schema 0.4."""
        return {
            "last_node_id": max(node["id"] for node in self.nodes),
            # the editor gives new links the next number, in subgraphs, too
            "last_link_id": 1000,
            "nodes": self.nodes,
            "links": self.links,
            "groups": [],
            "config": {},
            "extra": extra,
            "version": 0.4,
            **({"definitions": {"subgraphs": list(definitions)}} if definitions else {}),
        }

    def definition(self, name: str, inputs: list[str], outputs: list[str]) -> Raw:
        """A subgraph; links from -10 and to -20 are those of its inputs and outputs."""
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        links = [dict(zip(keys, link, strict=True)) for link in self.links]

        def port(end: str, number: int, slot: int, text: str) -> Raw:
            title, _, kind = text.partition(":")
            leads = [
                link["id"]
                for link in links
                if link[f"{end}_id"] == number and link[f"{end}_slot"] == slot
            ]
            return {"id": f"{name}-{end}-{slot}", "name": title, "type": kind, "linkIds": leads}

        box = {"bounding": [0, 0, 100, 100]}
        return {
            "id": _uuid(name),
            "version": 1,
            "state": {"lastGroupId": 0, "lastNodeId": 0, "lastLinkId": 0, "lastRerouteId": 0},
            "revision": 0,
            "config": {},
            "name": name,
            "inputNode": {"id": -10, **box},
            "outputNode": {"id": -20, **box},
            "inputs": [port("origin", -10, slot, text) for slot, text in enumerate(inputs)],
            "outputs": [port("target", -20, slot, text) for slot, text in enumerate(outputs)],
            "widgets": [],
            "nodes": self.nodes,
            "groups": [],
            "links": links,
            "extra": {},
        }

    def give(self, origin: int, slot: int, output: int) -> None:
        """Link an output to one of the subgraph's own."""
        self.links.append([len(self.links) + 1, origin, slot, -20, output, "*"])

    def use(
        self,
        definition: Raw,
        *values: Any,
        into: dict[str, tuple[int, int]] | None = None,
        **more: Any,
    ) -> int:
        """Put a node here that uses a subgraph."""
        number = self.add(definition["id"], *values, **more)
        node = self.node(number)
        node["outputs"] = [
            {"name": port["name"], "type": port["type"], "links": None}
            for port in definition["outputs"]
        ]
        node["inputs"] = [
            {"name": port["name"], "type": port["type"], "link": None}
            for port in definition["inputs"]
        ]
        for name, (origin, slot) in (into or {}).items():
            self.join(origin, slot, number, name)
        return number

    def _outputs(self, kind: str) -> list[Raw]:
        known = self.object_info.get(kind)
        if known is None:
            return [{"name": "*", "type": "*", "links": None}]
        return [
            {"name": name, "type": given if isinstance(given, str) else "COMBO", "links": None}
            for name, given in zip(known["output_name"], known["output"], strict=True)
        ]

    def _inputs(self, kind: str) -> list[Raw]:
        """All that are there from the first: links, then widgets, as the editor lists them."""
        found = [self._input(kind, name) for name in self._declared(kind)]
        plain = [slot for slot in found if not slot["type"].startswith("COMFY_")]
        return sorted(plain, key=lambda slot: "widget" in slot)

    def _declared(self, kind: str) -> Raw:
        sections = (self.object_info.get(kind) or {}).get("input") or {}
        return {**sections.get("required", {}), **sections.get("optional", {})}

    def _input(self, kind: str, name: str) -> Raw:
        declared = self._declared(kind).get(name)
        given = "*" if declared is None else declared[0]
        kinds = given if isinstance(given, str) else "COMBO"
        slot: Raw = {"name": name, "type": kinds, "link": None}
        if kinds in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
            slot["widget"] = {"name": name}
        return slot


def _uuid(name: str) -> str:
    return f"00000000-0000-4000-8000-{sum(map(ord, name)):012}"


CASES: dict[str, Callable[[Raw], Raw]] = {}


def case(make: Callable[[Raw], Raw]) -> Callable[[Raw], Raw]:
    """Keep a case under the name of its function."""
    CASES[make.__name__] = make
    return make


def _picture(sheet: Sheet) -> int:
    return sheet.add("EmptyImage", 64, 48, 1, 0)


def _shown(sheet: Sheet, number: int, slot: int = 0) -> int:
    return sheet.add("PreviewImage", into={"images": (number, slot)})


# --------------------------------------------------------------------------- inputs


@case
def dynamic_combo(info: Raw) -> Raw:
    """A key brings inputs of its own, whose values stand right behind it."""
    sheet = Sheet(info)
    sized = sheet.add(
        "ResizeImageMaskNode",
        "scale longer dimension",
        96,
        "nearest-exact",
        into={"input": (_picture(sheet), 0)},
    )
    _shown(sheet, sized)
    return sheet.canvas()


@case
def dynamic_combo_of_another_key(info: Raw) -> Raw:
    """A link to an input of another key than the chosen one is gone."""
    sheet = Sheet(info)
    picture = _picture(sheet)
    size = sheet.add("PrimitiveInt", 32, "fixed")
    sized = sheet.add(
        "ResizeImageMaskNode",
        "scale longer dimension",
        96,
        "area",
        into={
            "input": (picture, 0),
            "resize_type.width": (size, 0),
            "resize_type.longer_size": (size, 0),
        },
    )
    _shown(sheet, sized)
    return sheet.canvas()


@case
def dynamic_combo_of_no_known_key(info: Raw) -> Raw:
    """A key that the server does not know brings nothing."""
    sheet = Sheet(info)
    sized = sheet.add(
        "ResizeImageMaskNode",
        "scale by moonlight",
        96,
        "area",
        into={"input": (_picture(sheet), 0)},
    )
    _shown(sheet, sized)
    return sheet.canvas()


@case
def autogrow(info: Raw) -> Raw:
    """As many inputs as are linked, by their full names."""
    sheet = Sheet(info)
    first, second = _picture(sheet), _picture(sheet)
    both = sheet.add(
        "BatchImagesNode", into={"images.image0": (first, 0), "images.image1": (second, 0)}
    )
    _shown(sheet, both)
    return sheet.canvas()


@case
def socketless(info: Raw) -> Raw:
    """Widgets of other types than texts and numbers carry values, some without a place for them."""
    sheet = Sheet(info)
    first, second = _picture(sheet), _picture(sheet)
    sheet.add("ImageCompare", into={"image_a": (first, 0), "image_b": (second, 0)})
    box = {"x": 1, "y": 2, "width": 30, "height": 20}
    _shown(sheet, sheet.add("ImageCropV2", box, 1, 2, 30, 20, into={"image": (first, 0)}))
    return sheet.canvas()


@case
def two_types(info: Raw) -> Raw:
    """An input that takes two types and names the widget's."""
    sheet = Sheet(info)
    sheet.add("LTXVEmptyLatentAudio", 97, 12, 2)
    return sheet.canvas()


@case
def companions(info: Raw) -> Raw:
    """Hidden values behind a seed and behind a file to upload."""
    sheet = Sheet(info)
    sheet.add("KSampler", 7, "increment", 12, 3.5, "ddim", "simple", 0.5)
    sheet.add("PrimitiveInt", 5, "randomize")
    sheet.add("LoadImage", "example.png", "image")
    sheet.add("RandomNoise", 9, "fixed")
    return sheet.canvas()


@case
def own_choices(info: Raw) -> Raw:
    """A list of choices with its own texts, one more than are filled in."""
    sheet = Sheet(info)
    choice = sheet.add("CustomCombo", "blue", 1, "red", "blue", "")
    sheet.add("PreviewAny", into={"source": (choice, 0)})
    return sheet.canvas()


@case
def too_few_values(info: Raw) -> Raw:
    """What the file does not hold is at its default; an empty choice is the first."""
    sheet = Sheet(info)
    sheet.add("EmptyLatentImage", 320)
    sheet.add("KSampler", 7, "fixed", 12, 3.5, None)
    return sheet.canvas()


# --------------------------------------------------------------------------- links


@case
def bypassed_any_type(info: Raw) -> Raw:
    """A bypassed node hands on what fits, and "*" fits."""
    sheet = Sheet(info)
    text = sheet.add("PrimitiveString", "a lamp")
    shown = sheet.add("PreviewAny", into={"source": (text, 0)}, mode=4)
    sheet.add("CLIPTextEncode", "old", into={"text": (shown, 0)})
    return sheet.canvas()


@case
def bypassed_without_a_fit(info: Raw) -> Raw:
    """Where nothing fits nothing comes, and the widget's own value counts."""
    sheet = Sheet(info)
    picture = _picture(sheet)
    size = sheet.add("GetImageSize", into={"image": (picture, 0)}, mode=4)
    sheet.add("EmptyLatentImage", 320, 64, 1, into={"width": (size, 0)})
    return sheet.canvas()


@case
def muted(info: Raw) -> Raw:
    """A muted node gives nothing, and the widget's own value counts."""
    sheet = Sheet(info)
    size = sheet.add("PrimitiveInt", 32, "fixed", mode=2)
    latent = sheet.add("EmptyLatentImage", 320, 64, 1, into={"width": (size, 0)})
    sheet.add(
        "KSampler", 1, "fixed", 2, 3, "euler", "simple", 1, into={"latent_image": (latent, 0)}
    )
    sheet.node(latent)["mode"] = 2
    return sheet.canvas()


@case
def bypassed_with_widgets(info: Raw) -> Raw:
    """Inputs of widgets count when a node is bypassed, also those that a file leaves out."""
    inner = Sheet(info)
    number = inner.add("PrimitiveInt", 5, "fixed", number=8, mode=4)
    inner.node(number)["inputs"] = []
    inner.add("EmptyLatentImage", 64, 64, 1, number=9, into={"width": (8, 0)})
    inner.give(9, 0, 0)
    wide = inner.definition("wide", [], ["LATENT:LATENT"])
    sheet = Sheet(info)
    text = sheet.add("PrimitiveString", "given")
    joined = sheet.add("StringConcatenate", "a", "b", "", mode=4)
    sheet.node(joined)["inputs"] = []
    sheet.join(text, 0, joined, "string_b")
    sheet.add("StringConcatenate", "c", "d", "", into={"string_b": (joined, 0)})
    sheet.use(wide, 320, properties={"proxyWidgets": [["8", "value"]]})
    return sheet.canvas(wide)


@case
def bypassed_into_a_matched_type(info: Raw) -> Raw:
    """An input that matches what the others of its node are linked to takes nothing else."""
    sheet = Sheet(info)
    size = sheet.add("PrimitiveInt", 32, "fixed")
    picture = sheet.add("EmptyImage", 64, 64, 1, 0, mode=4, into={"width": (size, 0)})
    into = {"on_false": (picture, 0), "on_true": (_picture(sheet), 0)}
    switch = sheet.add("ComfySwitchNode", True, into=into)
    for slot in sheet.node(switch)["inputs"]:
        slot["type"] = "IMAGE" if slot["link"] else slot["type"]
    _shown(sheet, switch)
    return sheet.canvas()


@case
def reroutes_and_primitives(info: Raw) -> Raw:
    """Reroutes hand on; primitives put their value into widgets, but not through a reroute."""
    sheet = Sheet(info)
    picture = _picture(sheet)
    first = sheet.add("Reroute", into={"": (picture, 0)})
    second = sheet.add("Reroute", into={"": (first, 0)})
    _shown(sheet, second)
    width = sheet.add("PrimitiveNode", 640, "fixed")
    height = sheet.add("PrimitiveNode", 480, "fixed")
    way = sheet.add("Reroute", into={"": (height, 0)})
    sheet.add("EmptyLatentImage", 320, 64, 1, into={"width": (width, 0), "height": (way, 0)})
    return sheet.canvas()


@case
def primitives_by_steps(info: Raw) -> Raw:
    """A number from a primitive goes by the steps of the widget that it is put into."""
    sheet = Sheet(info)
    width = sheet.add("PrimitiveNode", 509, "fixed")
    seed = sheet.add("PrimitiveNode", 2**53 - 1, "fixed")
    rate = sheet.add("PrimitiveNode", 0.4999999999999999, "fixed")
    guidance = sheet.add("PrimitiveNode", 3.1449999, "fixed")
    latent = sheet.add("EmptyLatentImage", 64, 64, 1, into={"width": (width, 0)})
    # cfg has steps of 0.1 and is rounded to 0.01; the value within stays as it is
    given = {"seed": (seed, 0), "denoise": (rate, 0), "cfg": (guidance, 0)}
    into = {"latent_image": (latent, 0), **given}
    sheet.add("KSampler", 0, "fixed", 20, 8.0, "euler", "simple", 1.0, into=into)
    sheet.add("KSampler", 0, "fixed", 20, 8.0001, "euler", "simple", 0.4999999999999999)
    return sheet.canvas()


# --------------------------------------------------------------------------- subgraphs


def _latents(info: Raw) -> Raw:
    inner = Sheet(info)
    latent = inner.add("EmptyLatentImage", 512, 256, 1, number=5)
    inner.join(-10, 0, latent, "width")
    inner.join(-10, 1, latent, "batch_size")
    inner.give(latent, 0, 0)
    return inner.definition("latents", ["width:INT", "batch_size:INT"], ["LATENT:LATENT"])


@case
def promoted(info: Raw) -> Raw:
    """Values belong to the definition's inputs in order, whatever the node lists."""
    sheet = Sheet(info)
    used = sheet.use(_latents(info), 320, 4)
    sheet.node(used)["inputs"].pop(0)
    sheet.use(_latents(info), 640)
    return sheet.canvas(_latents(info))


@case
def promoted_and_linked(info: Raw) -> Raw:
    """A link beats the value; a primitive's link brings nothing, so the value within counts."""
    sheet = Sheet(info)
    number = sheet.add("PrimitiveInt", 96, "fixed")
    sheet.use(_latents(info), 320, 4, into={"width": (number, 0)})
    plain = sheet.add("PrimitiveNode", 3, "fixed")
    sheet.use(_latents(info), 320, 4, into={"batch_size": (plain, 0)})
    return sheet.canvas(_latents(info))


@case
def proxies(info: Raw) -> Raw:
    """Older files name the widgets that are shown, also such as are no input of the subgraph."""
    sheet = Sheet(info)
    listed = [["5", "batch_size"], ["5", "height"], ["5", "width"]]
    sheet.use(_latents(info), 4, 96, 320, properties={"proxyWidgets": listed})
    sheet.use(_latents(info), 3, properties={"proxyWidgets": listed})
    sheet.use(_latents(info), 640, 2, properties={"proxyWidgets": [["-1", "width"]]})
    return sheet.canvas(_latents(info))


@case
def proxies_of_a_primitive(info: Raw) -> Raw:
    """A shown primitive puts the value that is held for it into all that it is linked to."""
    inner = Sheet(info)
    number = inner.add("PrimitiveNode", 512, "fixed", number=8)
    inner.node(number)["outputs"][0]["type"] = "INT"
    inner.add("EmptyLatentImage", 64, 64, 1, number=9, into={"width": (8, 0), "height": (8, 0)})
    inner.give(9, 0, 0)
    square = inner.definition("square", [], ["LATENT:LATENT"])
    sheet = Sheet(info)
    sheet.use(square, 320, properties={"proxyWidgets": [["8", "value"]]})
    sheet.use(square)
    return sheet.canvas(square)


@case
def set_aside(info: Raw) -> Raw:
    """Values that the editor kept because it could not place them."""
    sheet = Sheet(info)
    kept = {
        "proxyWidgetErrorQuarantine": [
            {
                "originalEntry": ["-1", "batch_size"],
                "reason": "missingSourceNode",
                "hostValue": 6,
                "attemptedAtVersion": 1,
            }
        ]
    }
    sheet.use(_latents(info), 320, 4, properties=kept)
    return sheet.canvas(_latents(info))


def _nested(info: Raw, mode: int = 0) -> tuple[Raw, Raw]:
    latents = _latents(info)
    outer = Sheet(info)
    used = outer.use(latents, 320, 4, number=7, mode=mode)
    outer.join(-10, 0, used, "width")
    outer.give(used, 0, 0)
    return latents, outer.definition("nested", ["size:INT"], ["LATENT:LATENT"])


@case
def nested(info: Raw) -> Raw:
    """A subgraph in a subgraph, with values at both borders."""
    latents, outer = _nested(info)
    sheet = Sheet(info)
    sheet.use(outer, 96)
    sheet.use(outer)
    return sheet.canvas(latents, outer)


@case
def proxies_of_nested(info: Raw) -> Raw:
    """A shown widget further within, in the two ways in which files name it."""
    latents, outer = _nested(info)
    sheet = Sheet(info)
    sheet.use(outer, 9, 128, properties={"proxyWidgets": [["7", "batch_size"], ["7", "width"]]})
    sheet.use(outer, 8, properties={"proxyWidgets": [["7", "5: batch_size"]]})
    sheet.use(outer, 7, properties={"proxyWidgets": [["7", "batch_size", "5"]]})
    return sheet.canvas(latents, outer)


@case
def subgraphs_off(info: Raw) -> Raw:
    """Muting or bypassing the node that uses a subgraph does so to all of it."""
    inner = Sheet(info)
    scaled = inner.add("ImageScaleBy", "area", 2, number=5)
    inner.join(-10, 0, scaled, "image")
    inner.give(scaled, 0, 0)
    scale = inner.definition("scale", ["image:IMAGE"], ["IMAGE:IMAGE"])
    sheet = Sheet(info)
    picture = _picture(sheet)
    for mode in (2, 4, 0):
        _shown(sheet, sheet.use(scale, into={"image": (picture, 0)}, mode=mode))
    return sheet.canvas(scale)


@case
def nested_off(info: Raw) -> Raw:
    """The same further within."""
    latents, outer = _nested(info, mode=2)
    sheet = Sheet(info)
    used = sheet.use(outer, 96)
    sheet.add("KSampler", 1, "fixed", 2, 3, "euler", "simple", 1, into={"latent_image": (used, 0)})
    return sheet.canvas(latents, outer)


@case
def ids_that_are_taken(info: Raw) -> Raw:
    """Ids are unique over the whole file: the canvas's own stay, others make way."""
    sheet = Sheet(info)
    definitions = []
    for name in ("one", "two"):
        inner = Sheet(info)
        latent = inner.add("EmptyLatentImage", 512, 256, 1, number=2)
        inner.join(-10, 0, latent, "width")
        inner.give(latent, 0, 0)
        definitions.append(inner.definition(name, ["width:INT"], ["LATENT:LATENT"]))
    sheet.use(definitions[0], 64)
    sheet.use(definitions[1], 96, properties={"proxyWidgets": [["2", "width"]]})
    return sheet.canvas(*definitions)


def _grouped(info: Raw, *parts: tuple[str, list[Any]], links: list[list[Any]], **more: Any) -> Raw:
    """A group of 2024: nodes as they were copied, and links between them by their places."""
    sheet = Sheet(info)
    for kind, values in parts:
        sheet.add(kind, *values)
    nodes = [{**node, "index": at} for at, node in enumerate(sheet.nodes)]
    for node in nodes:
        del node["id"]
        # of that time: a widget was an input only where a person had made it one
        node["inputs"] = [slot for slot in node["inputs"] if "widget" not in slot]
    return {"nodes": nodes, "links": links, "external": [], **more}


@case
def group_node(info: Raw) -> Raw:
    """A group node: several nodes in one, with names of its own for what it shows."""
    group = _grouped(
        info,
        ("ImageBlur", [1, 1.0]),
        ("ImageQuantize", [256, "none"]),
        ("RandomNoise", [3, "fixed"]),
        links=[[0, 0, 1, 0, 1, "IMAGE"]],
    )
    sheet = Sheet(info)
    picture = _picture(sheet)
    both = sheet.add("workflow>both", 3, 2.5, 16, 77, "increment")
    sheet.node(both)["outputs"] = [
        {"name": name, "type": name, "links": None} for name in ("IMAGE", "NOISE")
    ]
    sheet.node(both)["inputs"].append({"name": "image", "type": "IMAGE", "link": None})
    sheet.join(picture, 0, both, "image")
    _shown(sheet, both)
    return sheet.canvas(groupNodes={"both": group})


@case
def group_node_twice(info: Raw) -> Raw:
    """Two uses of a group with two nodes of a class, whose names get the class in front."""
    group = _grouped(
        info,
        ("EmptyLatentImage", [512, 512, 1]),
        ("EmptyLatentImage", [256, 256, 1]),
        ("LatentAdd", []),
        links=[[0, 0, 2, 0, 1, "LATENT"], [1, 0, 2, 1, 1, "LATENT"]],
        config={"0": {"input": {"width": {"name": "broad"}}}},
    )
    sheet = Sheet(info)
    for values in ([1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 50, 60]):
        both = sheet.add("workflow/both", *values)
        sheet.node(both)["outputs"] = [{"name": "LATENT", "type": "LATENT", "links": None}]
    sheet.add("LatentAdd", into={"samples1": (1, 0), "samples2": (2, 0)})
    return sheet.canvas(groupNodes={"both": group})


# --------------------------------------------------------------------------- texts


@case
def texts(info: Raw) -> Raw:
    """Comments, choices of one and letters that are meant, and what is no such input."""
    sheet = Sheet(info)
    sheet.add("CLIPTextEncode", "a {lamp} // no\nwith /* no */ {a {b|b}|a {b|b}} \\{c|d\\}")
    sheet.add("PrimitiveString", "{kept} // kept")
    return sheet.canvas()


@case
def promoted_text(info: Raw) -> Raw:
    """A text that the node which uses a subgraph holds is sent as it is."""
    inner = Sheet(info)
    encoded = inner.add("CLIPTextEncode", "within", number=5)
    inner.join(-10, 0, encoded, "text")
    inner.give(encoded, 0, 0)
    encode = inner.definition("encode", ["text:STRING"], ["CONDITIONING:CONDITIONING"])
    sheet = Sheet(info)
    sheet.use(encode, "a {lamp} // stays")
    return sheet.canvas(encode)


@case
def file_names(info: Raw) -> Raw:
    """Names of nodes and their values between per cent signs."""
    sheet = Sheet(info)
    sheet.add("KSampler", 4711, "fixed", 9, 3.0, "ddim", "simple", 0.25, title="Mine")
    sheet.node(1)["properties"] = {"Node name for S&R": "Sampler"}
    for prefix in ("%Sampler.seed%/%Mine.denoise%-%Mine.cfg%", "%Nobody.x%-%width%", "%Mine.lost%"):
        sheet.add("SaveImage", prefix, into={"images": (_picture(sheet), 0)})
    return sheet.canvas()


def _classes(canvas: Any) -> set[str]:
    sheets = [canvas, *(canvas.get("definitions") or {}).get("subgraphs", ())]
    groups = (canvas["extra"].get("groupNodes") or {}).values()
    return {node["type"] for sheet in (*sheets, *groups) for node in sheet["nodes"]}


def _kept(declared: Any) -> Any:
    """A class without texts for people."""
    if isinstance(declared, dict):
        return {key: _kept(value) for key, value in declared.items() if key not in _TEXTS}
    return [_kept(value) for value in declared] if isinstance(declared, list) else declared


_FIELDS = ("input", "input_order", "output", "output_name", "output_node", "python_module")


def record(url: str, at: Editor) -> None:
    """Write the file of every case, by the editor of the server at `url`."""
    declared = requests.get(f"{url}/object_info", timeout=60).json()
    used: set[str] = set()
    for name, make in CASES.items():
        canvas = make(declared)
        used |= _classes(canvas)
        text = json.dumps({"canvas": canvas, "graph": at.graph(canvas)}, separators=(",", ":"))
        (TARGET / f"{name}.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    info = {
        name: {
            **{field: _kept(declared[name][field]) for field in _FIELDS},
            "display_name": declared[name]["display_name"],
        }
        for name in sorted(used & declared.keys())
    }
    path = TARGET / "object_info.json"
    path.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8", newline="\n")
