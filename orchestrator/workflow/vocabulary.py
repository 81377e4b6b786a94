"""Words of a graph's prompts that its models do not know; with no I/O.

Loaders tell in /object_info what words a model knows, where it knows few, as
`comfy_nodes.vocabulary` has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfy_nodes.vocabulary import Unknown, Vocabulary, read_vocabulary, warning

from ..protocol import Graph
from .catalogue import Catalogue
from .roles import Target, input_at, samplers, targets_at, value_at


@dataclass(frozen=True)
class Prompted:
    """Where the prompts of one sampler stand, and the models that read them.

    That follows from how a graph is linked: it serves all graphs that differ in values only.
    """

    prompts: tuple[Target, ...]
    # each with the words of the models that may stand there, by their names
    models: tuple[tuple[Target, Mapping[str, Vocabulary]], ...]


def unknown_words(graph: Graph, catalogue: Catalogue) -> list[str]:
    """A sentence for each model whose prompts have words that it does not know."""
    places = prompted(graph, catalogue)
    return sentences(unknown_by_model(graph, places), vocabularies(places))


def prompted(graph: Graph, catalogue: Catalogue) -> list[Prompted]:
    """The prompts of a graph that models read which know few words."""
    found = []
    for sampler in samplers(graph):
        models = tuple(
            (target, words)
            for target in targets_at(graph, sampler, "model", catalogue)
            if (words := _words_by_model(input_at(graph, target, catalogue).extra.get("words")))
        )
        if models:
            prompts = targets_at(graph, sampler, "prompt", catalogue)
            found.append(Prompted(prompts=tuple(prompts), models=models))
    return found


def unknown_by_model(graph: Graph, places: Iterable[Prompted]) -> dict[str, dict[str, Unknown]]:
    """{model: {word: what is said of it}} for models that do not know a word of their prompts."""
    found: dict[str, dict[str, Unknown]] = {}
    for place in places:
        values = [value_at(graph, target) for target in place.prompts]
        texts = [text for text in values if isinstance(text, str)]
        for name, words in _models(graph, place):
            unknown = {one.word: one for text in texts for one in words.unknown(text)}
            if unknown:
                found.setdefault(name, {}).update(unknown)
    return found


def vocabularies(places: Iterable[Prompted]) -> dict[str, Vocabulary]:
    """The words of every model that may stand at these places."""
    return {
        name: words for one in places for _, models in one.models for name, words in models.items()
    }


def sentences(
    unknown: Mapping[str, Mapping[str, Unknown]], there: Mapping[str, Vocabulary]
) -> list[str]:
    """What `unknown_by_model` found, a sentence for each model; it names those that know better.

    Args:
        there: the words of the models that may be chosen instead.
    """
    return [warning(model, list(words.values()), there) for model, words in unknown.items()]


def _words_by_model(told: Any) -> dict[str, Vocabulary]:
    lists = told.items() if isinstance(told, dict) else ()
    read = {str(name): read_vocabulary(words) for name, words in lists}
    return {name: words for name, words in read.items() if words is not None}


def _models(graph: Graph, place: Prompted) -> Iterator[tuple[str, Vocabulary]]:
    for target, words in place.models:
        name = graph[target.node_id]["inputs"].get(target.input)
        if isinstance(name, str) and name in words:
            yield name, words[name]
