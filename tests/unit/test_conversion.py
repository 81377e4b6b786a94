"""What conversion does where no recording of the editor can say it: foreign nodes, long chains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import CanvasError, UnknownNodeClass
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.conversion import canvas_to_graph, convert, load
from orchestrator.workflow.editor import OWN_CHOICES

CLASSES: dict[str, Any] = {
    "Give": {"input": {"required": {"text": ["STRING", {"default": "x"}]}}, "output": ["IMAGE"]},
    "Take": {
        "input": {"required": {"image": ["IMAGE"]}, "optional": {"note": ["STRING", {}]}},
        "output": ["IMAGE"],
        "output_node": True,
    },
    "Foreign": {
        "input": {
            "required": {
                "before": ["INT", {"default": 1}],
                "gizmo": ["GIZMO", {}],
                "after": ["INT", {"default": 2}],
            }
        },
        "output": [],
        "output_node": True,
        "python_module": "custom_nodes.other",
    },
    "Prompt": {
        "input": {"required": {"text": ["STRING", {"dynamicPrompts": True}]}},
        "output": ["IMAGE"],
    },
    "Curve": {"input": {"required": {"curve": ["CURVE", {}]}}, "output": [], "output_node": True},
    "Chosen": {
        "input": {
            "required": {
                "file": [["a", "b"], {"control_after_generate": True}],
                "after": ["INT", {"default": 2}],
            }
        },
        "output": [],
        "output_node": True,
    },
    "Fetched": {
        "input": {
            "required": {
                "file": ["COMBO", {"remote": {"route": "/x", "refresh_button": True}}],
                "after": ["INT", {"default": 2}],
            }
        },
        "output": [],
        "output_node": True,
    },
    "Forced": {
        "input": {
            "required": {
                "linked": ["INT", {"forceInput": True}],
                "after": ["INT", {"default": 2}],
            }
        },
        "output": [],
        "output_node": True,
    },
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(CLASSES)


def node(number: int, kind: str, *values: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "type": kind, "widgets_values": list(values), **more}


def slot(name: str, link: int | None = None, kind: str = "*", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "link": link, **more}


def canvas(nodes: list[Any], links: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"nodes": nodes, "links": links or [], "version": 0.4, **more}


def inputs(data: Any, catalogue: Catalogue, number: str) -> Any:
    return canvas_to_graph(data, catalogue)[number]["inputs"]


# --------------------------------------------------------------------------- values


def test_a_packs_own_widget_is_known_by_its_mark(catalogue: Catalogue) -> None:
    marked = slot("gizmo", kind="GIZMO", widget={"name": "gizmo"})
    with_mark = canvas([node(1, "Foreign", 5, {"x": 1}, 7, inputs=[marked])])
    assert inputs(with_mark, catalogue, "1") == {"before": 5, "gizmo": {"x": 1}, "after": 7}
    without = canvas([node(1, "Foreign", 5, 7, inputs=[slot("gizmo", kind="GIZMO")])])
    assert inputs(without, catalogue, "1") == {"before": 5, "after": 7}


def test_lists_are_wrapped_and_curves_say_what_they_are(catalogue: Catalogue) -> None:
    points = [[0, 0], [1, 1]]
    assert inputs(canvas([node(1, "Curve", points)]), catalogue, "1") == {
        "curve": {"__type__": "CURVE", "__value__": points}
    }
    assert inputs(canvas([node(1, "Give", points)]), catalogue, "1") == {
        "text": {"__value__": points}
    }


def test_a_curve_that_nobody_drew_is_the_editors_straight_line(catalogue: Catalogue) -> None:
    line = {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"}
    assert inputs(canvas([node(1, "Curve")]), catalogue, "1")["curve"] == line


def test_a_list_of_choices_has_a_filter_behind_its_control(catalogue: Catalogue) -> None:
    data = canvas([node(1, "Chosen", "b", "increment-wrap", "/x/", 9)])
    assert inputs(data, catalogue, "1") == {"file": "b", "after": 9}


def test_fetched_choices_have_a_switch_and_a_button_behind_them(catalogue: Catalogue) -> None:
    data = canvas([node(1, "Fetched", "a.png", False, "refresh", 9)])
    assert inputs(data, catalogue, "1") == {"file": "a.png", "refresh": "refresh", "after": 9}


def test_a_value_of_what_takes_links_only_now_is_passed_over(catalogue: Catalogue) -> None:
    assert inputs(canvas([node(1, "Forced", 5, 9)]), catalogue, "1") == {"after": 9}
    assert inputs(canvas([node(1, "Forced", 9)]), catalogue, "1") == {"after": 9}


def test_an_input_that_is_no_widget_any_more_is_gone(catalogue: Catalogue) -> None:
    links = [[1, 1, 0, 2, 0, "IMAGE"], [2, 1, 0, 2, 1, "IMAGE"], [3, 1, 0, 2, 2, "IMAGE"]]
    slots = [slot("image", 1), slot("lost", 2, widget={"name": "lost"}), slot("free", 3)]
    data = canvas([node(1, "Give", "x"), node(2, "Take", "", inputs=slots)], links)
    # what was never a widget may be a pack's own input, and goes along
    assert inputs(data, catalogue, "2") == {"note": "", "image": ["1", 0], "free": ["1", 0]}


# --------------------------------------------------------------------------- the editor's nodes


def handed_on(*between: Any, links: list[Any], **more: Any) -> Any:
    taken = node(9, "Take", "", inputs=[slot("image", 99, "IMAGE")])
    return canvas([node(1, "Give", "x"), *between, taken], links, **more)


@pytest.mark.parametrize(
    ("setter", "getter"), [("SetNode", "GetNode"), ("easy setNode", "easy getNode")]
)
def test_set_and_get_hand_a_link_on(setter: str, getter: str, catalogue: Catalogue) -> None:
    data = handed_on(
        node(2, setter, "shared", inputs=[slot("IMAGE", 1)]),
        node(3, getter, "shared"),
        links=[[1, 1, 0, 2, 0, "IMAGE"], [99, 3, 0, 9, 0, "IMAGE"]],
    )
    graph = canvas_to_graph(data, catalogue)
    assert sorted(graph) == ["1", "9"]
    assert graph["9"]["inputs"]["image"] == ["1", 0]


def test_get_finds_what_was_set_outside_of_its_subgraph(catalogue: Catalogue) -> None:
    inner = {
        "id": "s",
        "nodes": [node(3, "GetNode", "shared")],
        "links": [{"id": 5, "origin_id": 3, "origin_slot": 0, "target_id": -20, "target_slot": 0}],
        "inputs": [],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "linkIds": [5]}],
    }
    data = handed_on(
        node(2, "SetNode", "shared", inputs=[slot("IMAGE", 1)]),
        node(4, "s"),
        links=[[1, 1, 0, 2, 0, "IMAGE"], [99, 4, 0, 9, 0, "IMAGE"]],
        definitions={"subgraphs": [inner]},
    )
    assert inputs(data, catalogue, "9")["image"] == ["1", 0]


def test_get_without_set_is_an_error(catalogue: Catalogue) -> None:
    data = handed_on(node(3, "GetNode", "lost"), links=[[99, 3, 0, 9, 0, "IMAGE"]])
    with pytest.raises(CanvasError, match=r"node 3 \(GetNode\) gets 'lost', which no node sets"):
        canvas_to_graph(data, catalogue)


def test_what_only_the_editor_has_is_left_out_with_a_note(catalogue: Catalogue) -> None:
    data = canvas(
        [node(1, "Give", "x"), node(7, "Bookmark (any)"), node(8, "Muter", outputs=[slot("out")])]
    )
    conversion = convert(data, catalogue)
    assert sorted(conversion.graph) == ["1"]
    assert [note.split(":")[0] for note in conversion.notes] == [
        "node 7 (Bookmark (any)) is left out",
        "node 8 (Muter) is left out",
    ]


def test_an_unknown_node_with_a_link_is_no_ornament(catalogue: Catalogue) -> None:
    data = handed_on(node(2, "Lost"), links=[[99, 2, 0, 9, 0, "IMAGE"]])
    with pytest.raises(UnknownNodeClass, match="node 2: the server has no node class 'Lost'"):
        canvas_to_graph(data, catalogue)


def test_five_thousand_reroutes(catalogue: Catalogue) -> None:
    last = 5000
    chain = [node(10 + at, "Reroute", inputs=[slot("", at)]) for at in range(last)]
    links = [[0, 1, 0, 10, 0, "*"]]
    links += [[at, 9 + at, 0, 10 + at, 0, "*"] for at in range(1, last)]
    data = handed_on(*chain, links=[*links, [99999, 9 + last, 0, 9, 0, "IMAGE"]])
    data["nodes"][-1]["inputs"][0]["link"] = 99999
    assert inputs(data, catalogue, "9")["image"] == ["1", 0]


def test_a_subgraph_that_hands_its_input_on(catalogue: Catalogue) -> None:
    inner = {
        "id": "s",
        "nodes": [],
        "links": [
            {"id": 5, "origin_id": -10, "origin_slot": 0, "target_id": -20, "target_slot": 0}
        ],
        "inputs": [{"name": "in", "type": "IMAGE", "linkIds": [5]}],
        "outputs": [{"name": "out", "type": "IMAGE", "linkIds": [5]}],
    }
    data = handed_on(
        node(4, "s", inputs=[slot("in", 1, "IMAGE")]),
        links=[[1, 1, 0, 4, 0, "IMAGE"], [99, 4, 0, 9, 0, "IMAGE"]],
        definitions={"subgraphs": [inner]},
    )
    assert inputs(data, catalogue, "9")["image"] == ["1", 0]


def test_a_group_node_keeps_values_in_the_order_of_its_time() -> None:
    path = Path(__file__).resolve().parent.parent / "data" / "canvas" / "object_info.json"
    known = Catalogue(json.loads(path.read_text(encoding="utf-8")))
    group = {
        "nodes": [
            {**node(0, "EmptyLatentImage", 512, 512, 1), "index": 0},
            {
                **node(0, "KSampler", 1, "fixed", 20, 8, "euler", "normal", 1),
                "index": 1,
                "inputs": [
                    slot(name) for name in ("model", "positive", "negative", "latent_image")
                ],
            },
        ],
        "links": [[0, 0, 1, 3, 1, "LATENT"]],
    }
    values = [320, 64, 2, 77, "fixed", 9, 4.5, "ddim", "simple", 0.5]
    data = canvas([node(3, "workflow>both", *values)], extra={"groupNodes": {"both": group}})
    graph = canvas_to_graph(data, known)
    assert graph["6:4"]["inputs"] == {"width": 320, "height": 64, "batch_size": 2}
    assert graph["6:5"]["inputs"] == {
        "seed": 77,
        "steps": 9,
        "cfg": 4.5,
        "sampler_name": "ddim",
        "scheduler": "simple",
        "denoise": 0.5,
        "latent_image": ["6:4", 0],
    }


def test_a_group_may_have_reroutes_and_primitives(catalogue: Catalogue) -> None:
    """The editor of 1.48.7 loses what comes in by them; here it means what it meant in 2024."""
    radius = slot("text", kind="STRING", widget={"name": "text"})
    group = {
        "nodes": [
            {**node(0, "Reroute", inputs=[slot("")], outputs=[slot("")]), "index": 0},
            {**node(0, "Take", "", inputs=[slot("image", kind="IMAGE")]), "index": 1},
            {**node(0, "PrimitiveNode", "old", outputs=[slot("STRING")]), "index": 2},
            {**node(0, "Give", "x", inputs=[radius]), "index": 3},
        ],
        "links": [
            [None, 0, 0, 0, 9, "IMAGE"],
            [0, 0, 1, 0, 9, "IMAGE"],
            [2, 0, 3, 0, 9, "STRING"],
        ],
        # as some editors wrote it
        "external": [[{"type": "Take"}, 0, "IMAGE"]],
    }
    user = node(2, "workflow/both", "noted", "shown", inputs=[slot("IMAGE", 1)])
    data = canvas([node(1, "Give", "x"), user], [[1, 1, 0, 2, 0, "IMAGE"]])
    graph = canvas_to_graph({**data, "extra": {"groupNodes": {"both": group}}}, catalogue)
    assert graph["7:4"]["inputs"] == {"image": ["1", 0], "note": "noted"}
    assert graph["7:6"]["inputs"] == {"text": "shown"}


def test_an_output_that_a_group_uses_itself_is_shown_where_the_group_gives_it_away(
    catalogue: Catalogue,
) -> None:
    group = {
        "nodes": [
            {**node(0, "Give", "x"), "index": 0},
            {**node(0, "Take", "", inputs=[slot("image", kind="IMAGE")]), "index": 1},
        ],
        "links": [[0, 0, 1, 0, 9, "IMAGE"]],
    }
    taker = node(3, "Take", "", inputs=[slot("image", 1, "IMAGE")])
    data = canvas([node(2, "workflow>both"), taker], [[1, 2, 0, 3, 0, "IMAGE"]])

    def taken(external: list[Any]) -> Any:
        groups = {"both": {**group, "external": external}}
        return inputs({**data, "extra": {"groupNodes": groups}}, catalogue, "3")["image"]

    # (node, output, type)
    assert taken([[0, 0, "IMAGE"]]) == ["6:4", 0]
    assert taken([]) == ["6:5", 0]


def test_a_widget_that_became_an_input_before_the_group_was_made_is_linked_and_filled(
    catalogue: Catalogue,
) -> None:
    note = slot("note", kind="STRING", widget={"name": "note"})
    taken = {**node(0, "Take", "old", inputs=[slot("image", kind="IMAGE"), note]), "index": 0}
    group = {"nodes": [taken, {**node(0, "Give", "x"), "index": 1}], "links": []}

    def note_of(user: Any, *links: list[Any]) -> Any:
        data = canvas([node(1, "Give", "x"), user], list(links))
        graph = canvas_to_graph({**data, "extra": {"groupNodes": {"one": group}}}, catalogue)
        (found,) = [one for one in graph.values() if one["class_type"] == "Take"]
        return found["inputs"]["note"]

    # values of such inputs stand behind those of all nodes
    assert note_of(node(2, "workflow>one", "y", "new")) == "new"
    linked = node(2, "workflow>one", "y", "new", inputs=[slot("note", 1, "STRING")])
    assert note_of(linked, [1, 1, 0, 2, 0, "STRING"]) == ["1", 0]


@pytest.mark.parametrize("shown", ["named", "labelled", "plain"])
def test_an_input_of_a_group_goes_by_the_name_that_it_was_given(
    shown: str, catalogue: Catalogue
) -> None:
    image = slot("image", kind="IMAGE", **({"label": "picture"} if shown == "labelled" else {}))
    group = {
        "nodes": [{**node(0, "Take", "", inputs=[image]), "index": 0}],
        "links": [],
        "config": {"0": {"input": {"image": {"name": "given"}}}} if shown == "named" else {},
    }
    name = {"named": "given", "labelled": "picture", "plain": "image"}[shown]
    user = node(2, "workflow>one", "", inputs=[slot(name, 1, "IMAGE")])
    data = canvas([node(1, "Give", "x"), user], [[1, 1, 0, 2, 0, "IMAGE"]])
    graph = canvas_to_graph({**data, "extra": {"groupNodes": {"one": group}}}, catalogue)
    (found,) = [one for one in graph.values() if one["class_type"] == "Take"]
    assert found["inputs"]["image"] == ["1", 0]


def test_a_primitive_of_numbers_in_a_group_has_its_control_behind_it(catalogue: Catalogue) -> None:
    before = slot("before", kind="INT", widget={"name": "before"})
    group = {
        "nodes": [
            {**node(0, "PrimitiveNode", 1, "fixed", outputs=[slot("INT")]), "index": 0},
            {**node(0, "Foreign", 1, 2, inputs=[before]), "index": 1},
        ],
        "links": [[0, 0, 1, 0, 9, "INT"]],
    }
    data = canvas([node(2, "workflow>both", 5, "fixed", 7)], extra={"groupNodes": {"both": group}})
    (found,) = canvas_to_graph(data, catalogue).values()
    assert found["inputs"] == {"before": 5, "after": 7}


@pytest.mark.parametrize("values", [[], None, [9], [9, "randomize"]])
def test_what_a_group_is_given_counts_where_its_nodes_hold_too_few_values(values: Any) -> None:
    """As the editor does: it makes new nodes of the group's and sets their widgets by name."""
    numbers = {
        "seed": ["INT", {"default": 1, "control_after_generate": True}],
        "steps": ["INT", {"default": 20}],
        "cfg": ["FLOAT", {"default": 8.0}],
    }
    known = Catalogue({"Draw": {"input": {"required": numbers}, "output": [], "output_node": True}})
    group = {"nodes": [{**node(0, "Draw"), "widgets_values": values, "index": 0}], "links": []}

    def made(*saved: Any, **named: Any) -> Any:
        user = {**node(2, "workflow>one"), "widgets_values": named or list(saved)}
        (found,) = canvas_to_graph(
            canvas([user], extra={"groupNodes": {"one": group}}), known
        ).values()
        return found["inputs"]

    assert made(7, "fixed", 9, 4.5) == {"seed": 7, "steps": 9, "cfg": 4.5}
    assert made(cfg=4.5, seed=7) == {"seed": 7, "steps": 20, "cfg": 4.5}
    assert made() == {"seed": values[0] if values else 1, "steps": 20, "cfg": 8.0}


def test_what_a_group_is_given_goes_by_name_where_its_nodes_keep_values_by_name(
    catalogue: Catalogue,
) -> None:
    inner = {"id": 0, "type": "Foreign", "widgets_values": {"after": 5}, "index": 0}
    group = {"nodes": [inner], "links": []}
    data = canvas([node(2, "workflow>one", 3, 4)], extra={"groupNodes": {"one": group}})
    (found,) = canvas_to_graph(data, catalogue).values()
    assert found["inputs"]["before"] == 3


def test_a_primitive_in_a_group_needs_no_value_of_its_own(catalogue: Catalogue) -> None:
    before = slot("before", kind="INT", widget={"name": "before"})
    group = {
        "nodes": [
            {**node(0, "PrimitiveNode", outputs=[slot("INT")]), "index": 0},
            {**node(0, "Foreign", 1, 2, inputs=[before]), "index": 1},
        ],
        "links": [[0, 0, 1, 0, 9, "INT"]],
    }
    data = canvas([node(2, "workflow>both", 5, "fixed", 7)], extra={"groupNodes": {"both": group}})
    (found,) = canvas_to_graph(data, catalogue).values()
    assert found["inputs"] == {"before": 5, "after": 7}


@pytest.mark.parametrize(("choice", "number"), [("red", 0), ("blue", 1), ("green", -1), ("", 2)])
def test_a_choice_that_is_none_of_its_texts_has_the_number_of_none(
    choice: str, number: int
) -> None:
    own = {
        "input": {"required": {"choice": ["COMBO", {"multiselect": False, "options": []}]}},
        "output": ["STRING", "INT"],
        "output_node": True,
    }
    known = Catalogue({OWN_CHOICES: own})
    data = canvas([node(1, OWN_CHOICES, choice, 0, "red", "blue", "")])
    assert inputs(data, known, "1") == {
        "choice": choice,
        "index": number,
        "option1": "red",
        "option2": "blue",
        "option3": "",
    }


def test_a_bypassed_node_counts_what_its_choice_brings_and_the_file_leaves_out() -> None:
    """A widget of the chosen key comes before a linked input behind it, as in the editor."""
    two = {
        "key": "two",
        "inputs": {"required": {"note": ["STRING", {}], "last": ["STRING", {}]}},
    }
    modes = ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "one", "inputs": {}}, two]}]
    pick = {"input": {"required": {"mode": modes}}, "output": ["STRING"]}
    take = {"input": {"required": {"text": ["STRING", {}]}}, "output": [], "output_node": True}
    give = {"input": {"required": {}}, "output": ["STRING"]}
    known = Catalogue({"Pick": pick, "Take text": take, "Give text": give})
    data = canvas(
        [
            node(1, "Give text"),
            node(
                3,
                "Pick",
                "two",
                "a",
                "b",
                mode=4,
                outputs=[slot("STRING", kind="STRING")],
                inputs=[slot("mode.last", 1, "STRING", widget={"name": "mode.last"})],
            ),
            node(
                9, "Take text", "own", inputs=[slot("text", 2, "STRING", widget={"name": "text"})]
            ),
        ],
        [[1, 1, 0, 3, 0, "STRING"], [2, 3, 0, 9, 0, "STRING"]],
    )
    assert inputs(data, known, "9") == {"text": "own"}


def test_a_bypassed_subgraph_counts_the_inputs_that_its_file_leaves_out(
    catalogue: Catalogue,
) -> None:
    ports = (("note", "STRING"), ("one", "IMAGE"), ("two", "IMAGE"))
    inner = {
        "id": "s",
        "nodes": [node(5, "Take", "a", inputs=[slot("image", 12, "IMAGE")])],
        "links": [{"id": 12, "origin_id": -10, "origin_slot": 1, "target_id": 5, "target_slot": 0}],
        "inputs": [
            {"name": name, "type": kind, "linkIds": [12] if name == "one" else []}
            for name, kind in ports
        ],
        "outputs": [{"name": str(at), "type": "IMAGE", "linkIds": []} for at in range(2)],
    }
    data = handed_on(
        node(2, "Give", "y"),
        node(4, "s", mode=4, inputs=[slot("one", 1, "IMAGE"), slot("two", 2, "IMAGE")]),
        links=[[1, 1, 0, 4, 1, "IMAGE"], [2, 2, 0, 4, 2, "IMAGE"], [99, 4, 1, 9, 0, "IMAGE"]],
        definitions={"subgraphs": [inner]},
    )
    # by the second output goes what comes in by the second input
    assert inputs(data, catalogue, "9")["image"] == ["1", 0]


def test_an_api_graph_is_taken_as_it_stands(catalogue: Catalogue) -> None:
    graph = {"1": {"class_type": "Prompt", "inputs": {"text": "a {red|blue} lamp // x"}}}
    conversion = load(graph, catalogue)
    assert conversion.texts.sent(conversion.graph, 1) == graph


def test_what_a_bypassed_node_hands_on_goes_by_its_class_and_not_by_an_old_file() -> None:
    known = Catalogue(
        {
            **CLASSES,
            "Mask": {"input": {"required": {}}, "output": ["MASK"]},
            "Both": {
                "input": {"required": {"mask": ["MASK"], "image": ["IMAGE"]}},
                "output": ["IMAGE"],
            },
        }
    )
    both = node(3, "Both", mode=4, inputs=[slot("mask", 1), slot("image", 2)])
    links = [[1, 2, 0, 3, 0, "MASK"], [2, 1, 0, 3, 1, "IMAGE"], [99, 3, 0, 9, 0, "IMAGE"]]
    data = handed_on(node(2, "Mask"), both, links=links)
    assert inputs(data, known, "9")["image"] == ["1", 0]


@pytest.mark.parametrize(("mode", "source"), [("two", ["1", 0]), ("one", None)])
def test_a_bypassed_node_has_the_inputs_that_its_choice_brings(mode: str, source: Any) -> None:
    two = {"key": "two", "inputs": {"required": {"first": ["IMAGE"]}}}
    modes = ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "one", "inputs": {}}, two]}]
    pick = {"input": {"required": {"mode": modes}}, "output": ["IMAGE"]}
    known = Catalogue({**CLASSES, "Pick": pick})
    data = handed_on(
        node(3, "Pick", mode, mode=4, inputs=[slot("mode.first", 1, "IMAGE")]),
        links=[[1, 1, 0, 3, 0, "IMAGE"], [99, 3, 0, 9, 0, "IMAGE"]],
    )
    assert inputs(data, known, "9").get("image") == source


def test_a_primitive_of_an_input_that_is_gone_takes_no_other_with_it(catalogue: Catalogue) -> None:
    slots = [
        slot("gone", 5, "STRING", widget={"name": "gone"}),
        slot("note", 6, "STRING", widget={"name": "note"}),
    ]
    data = canvas(
        [
            node(1, "PrimitiveNode", "lost", outputs=[slot("STRING")]),
            node(2, "PrimitiveNode", "noted", outputs=[slot("STRING")]),
            node(9, "Take", "", inputs=slots),
        ],
        [[5, 1, 0, 9, 0, "STRING"], [6, 2, 0, 9, 1, "STRING"]],
    )
    assert inputs(data, catalogue, "9") == {"note": "noted"}


def test_a_file_name_takes_what_a_subgraph_shows(info: Catalogue) -> None:
    path = Path(__file__).resolve().parent.parent / "data" / "canvas" / "subgraph_seed.json"
    data = json.loads(path.read_text(encoding="utf-8"))["canvas"]
    nodes = {raw["id"]: raw for raw in data["nodes"]}
    nodes[15]["title"] = "Drawn"
    nodes[11]["type"] = "SaveImage"
    nodes[11]["widgets_values"] = ["%Drawn.seed%/%Drawn.width%"]
    conversion = convert(data, info)
    sent = conversion.texts.sent(conversion.graph, None)
    assert sent["11"]["inputs"]["filename_prefix"] == "77/512"


# --------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("options", "given", "shown"),
    [
        # a class without a default
        ({}, None, 0.0),
        # a step of two decimal places
        ({"step": 0.01}, 0.126, 0.13),
        ({"step": 0.01}, 0.124, 0.12),
        ({"step": 0.01, "round": 0.05}, 0.13, 0.15),
        ({"step": 0.01, "round": False}, 0.126, 0.13),
        # one of whole numbers rounds nothing
        ({"step": 5}, 7.34, 7.34),
        ({"step": 0.1, "max": 1.0}, 1.26, 1.0),
        # the editor's own, where a class names none
        ({"step": 0.1}, 3000.0, 2048.0),
        ({"step": 0.1, "min": -1.0}, -1.26, -1.0),
        ({"step": 0.1}, -0.26, 0.0),
    ],
)
def test_a_number_that_comes_by_a_primitive_goes_by_the_steps(
    options: dict[str, Any], given: float | None, shown: float
) -> None:
    entry = (
        Catalogue({"Number": {"input": {"required": {"value": ["FLOAT", options]}}, "output": []}})
        .node_class("Number")
        .by_name["value"]
    )
    assert (entry.default if given is None else entry.turned_to(given)) == shown


@pytest.mark.parametrize(
    ("options", "given", "shown"),
    [
        ({}, 7.5, 8),
        ({"step": 8}, 13, 16),
        # the steps begin at the smallest value
        ({"step": 8, "min": 3}, 13, 11),
        ({"step": 8, "min": 3}, 16, 19),
    ],
)
def test_a_whole_number_that_comes_by_a_primitive_goes_by_the_steps(
    options: dict[str, Any], given: float, shown: int
) -> None:
    declared = {"Number": {"input": {"required": {"value": ["INT", options]}}, "output": []}}
    assert Catalogue(declared).node_class("Number").by_name["value"].turned_to(given) == shown
