"""Texts as they are sent: choices, comments, names and dates in file names."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from orchestrator.errors import BadValue
from orchestrator.workflow.texts import Named, Texts, as_text, date, escaped, resolved

NOW = datetime(2026, 3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a {lamp}", "a lamp"),
        ("{a|a} {{b|b}|b}", "a b"),
        ("{a|a", "a"),
        ("a } b", "a } b"),
        ("\\{a|b\\}", "{a|b}"),
        ("{\\||\\|}", "|"),
        ("{a\\}b|a\\}b}", "a}b"),
        ("x // gone\ny /* gone\nto */ z", "x \ny  z"),
        ("http://example.org", "http:"),
        ("{a // gone\n|a \n}", "a \n"),
        ("\\\\{a}", "\\\\a"),
        ("end \\", "end \\"),
    ],
)
def test_texts_with_one_outcome(text: str, expected: str) -> None:
    assert resolved(text, 7, comments=True) == expected


def test_texts_from_outside_keep_what_looks_like_a_comment() -> None:
    assert resolved("see http://x {a|a} /* y */", 7, comments=False) == "see http://x a /* y */"


def test_the_seed_and_the_text_choose() -> None:
    text = "a {red|blue|green} {lamp|potion}"
    found = {resolved(text, seed, comments=True) for seed in range(100)}
    assert len(found) == 6
    assert resolved(text, 3, comments=True) == resolved(text, 3, comments=True)
    # a graph without a seed chooses as one whose seed is 0, and 1 is another
    none, zero, one = (
        [resolved(f"{text}{n}", seed, comments=True) for n in range(20)] for seed in (None, 0, 1)
    )
    assert none == zero != one
    # equal texts of two nodes are given the same choice, others choose by themselves
    others = [resolved(f"{text}!", seed, comments=True)[:-1] for seed in range(100)]
    assert others != [resolved(text, seed, comments=True) for seed in range(100)]


@pytest.mark.parametrize("text", ["a {b|c}", "{", "}", "plain"])
def test_what_is_escaped_is_meant(text: str) -> None:
    assert resolved(escaped(text), 1, comments=True) == text


@pytest.mark.parametrize("end", ["", "}"])
def test_choices_within_choices_have_an_end(end: str) -> None:
    assert resolved("{" * 100 + "a" + end * 100, 1, comments=True) == "a"
    with pytest.raises(BadValue, match="more than 100 choices"):
        resolved("{" * 101 + "a" + end * 101, 1, comments=True)
    # beside one another, or meant as letters, as many as there are
    assert resolved("{a}" * 5_000, 1, comments=True) == "a" * 5_000
    assert resolved(r"\{" * 5_000, 1, comments=True) == "{" * 5_000


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("yyyy-MM-dd hh:mm:ss", "2026-03-04 05:06:07"),
        ("d.M.yy", "4.3.26"),
        ("yyy at h", "yyy at 5"),
        ("", ""),
    ],
)
def test_dates(pattern: str, expected: str) -> None:
    assert date(pattern, NOW) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (8.0, "8"),
        (0.5, "0.5"),
        (True, "true"),
        (None, ""),
        ([1, "a"], "1,a"),
        (2**64, str(2**64)),
        # from here on JavaScript writes an exponent
        (1e21, "1e+21"),
        (1e20, "1" + 20 * "0"),
    ],
)
def test_values_in_texts(value: Any, expected: str) -> None:
    assert as_text(value) == expected


def graph(prefix: str, **inputs: Any) -> Any:
    return {
        "1": {"class_type": "KSampler", "inputs": {"seed": 5, **inputs}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix}},
    }


TEXTS = Texts(
    file_names=frozenset({("2", "filename_prefix")}),
    names=(
        Named(alias="", title="S", node_id="9", values={"seed": 1}),
        Named(alias="S", title="", node_id="1", values={"seed": 4, "name": "a/b:c?"}),
    ),
)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("%S.seed%", "4"),
        ("%S.name%", "a_b_c_"),
        ("%S.lost%-%T.seed%", "%S.lost%-%T.seed%"),
        ("%date:yyyy%/%width%", "2026/%width%"),
        ("50% of 100%", "50% of 100%"),
    ],
)
def test_names_in_file_names(prefix: str, expected: str) -> None:
    sent = TEXTS.sent(graph(prefix), 5, now=NOW)
    assert sent["2"]["inputs"]["filename_prefix"] == expected


def test_a_value_that_was_set_counts_in_file_names() -> None:
    sent = TEXTS.sent(graph("%S.seed%"), 5, changed=[("1", "seed")], now=NOW)
    assert sent["2"]["inputs"]["filename_prefix"] == "5"


def test_the_graph_that_goes_in_stays_as_it_is() -> None:
    given = graph("%S.seed%")
    TEXTS.sent(given, 5)
    assert given == graph("%S.seed%")
