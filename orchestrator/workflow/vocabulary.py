"""Words of a graph's prompts that its models do not know; with no I/O.

Loaders tell in /object_info what words a model knows, where it knows few, as
`comfy_nodes.vocabulary` has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from comfy_nodes.vocabulary import Unknown, Vocabulary, read_vocabulary, warning

from ..protocol import Graph
from .catalogue import Catalogue
from .roles import at_sampler, models_at, samplers


def unknown_words(graph: Graph, catalogue: Catalogue) -> list[str]:
    """A sentence for each model whose prompts have words that it does not know."""
    return sentences(unknown_by_model(graph, catalogue))


def unknown_by_model(graph: Graph, catalogue: Catalogue) -> dict[str, dict[str, Unknown]]:
    """{model: {word: what is said of it}} for models that do not know a word of their prompts."""
    found: dict[str, dict[str, Unknown]] = {}
    for sampler in samplers(graph):
        texts = [t for t in at_sampler(graph, sampler, "prompt", catalogue) if isinstance(t, str)]
        for name, words in _models(graph, sampler, catalogue):
            unknown = {one.word: one for text in texts for one in words.unknown(text)}
            if unknown:
                found.setdefault(name, {}).update(unknown)
    return found


def sentences(unknown: Mapping[str, Mapping[str, Unknown]]) -> list[str]:
    """What `unknown_by_model` found, a sentence for each model."""
    return [warning(model, list(words.values())) for model, words in unknown.items()]


def _models(graph: Graph, sampler: str, catalogue: Catalogue) -> Iterator[tuple[str, Vocabulary]]:
    for name, entry in models_at(graph, sampler, catalogue):
        lists = entry.extra.get("words")
        words = read_vocabulary(lists.get(name)) if isinstance(lists, dict) else None
        if words is not None:
            yield name, words
