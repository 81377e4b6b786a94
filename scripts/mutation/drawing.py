"""Draws mutants, which cosmic-ray makes."""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from scripts.mutation.mutants import Mutant
from scripts.mutation.targets import ROOT, MutationTarget

FORBIDDING = ("frozen", "kw_only", "slots")
# The same for members of an enum; for texts and numbers, as the interpreter shares them.
ALIKE = {"Is_Eq", "IsNot_NotEq", "Eq_Is", "NotEq_IsNot"}


@dataclass(frozen=True)
class _Place:
    """Where something can be changed, and by what."""

    target: MutationTarget
    path: str
    start: tuple[int, int]
    text: str
    # of the places in lines with that text
    number: int
    changes: tuple[tuple[str, int], ...]

    def rank(self, seed: int, *more: object) -> bytes:
        """A number out of the seed and what stands there: other lines may come and go."""
        what = (seed, self.path, self.text, self.start[1], self.number, *more)
        return hashlib.sha256(repr(what).encode()).digest()


def draw(modules: Iterable[tuple[MutationTarget, str]], seed: int) -> Iterator[Mutant]:
    """Mutants in the order of the seed, one for a place; fewer of them are the first of more."""
    places = [place for target, path in modules for place in _places(target, path)]
    for place in sorted(places, key=lambda place: (place.rank(seed), place.path, place.start)):
        changes = sorted(place.changes, key=lambda change: place.rank(seed, change[0]))
        for operator, occurrence in changes:
            mutant = _mutant(place, operator, occurrence)
            if mutant is not None:
                yield mutant
                break


def _places(target: MutationTarget, path: str) -> Iterator[_Place]:
    source = (ROOT / path).read_text(encoding="utf-8")
    lines = source.splitlines()
    nodes = list(ast_nodes(get_ast(source)))
    found: dict[tuple[tuple[int, int], tuple[int, int]], list[tuple[str, int]]] = {}
    for name in operator_names():
        operator = get_operator(name)
        # those with arguments are told the names of variables
        if operator.arguments() or name.partition("ReplaceComparisonOperator_")[2] in ALIKE:
            continue
        one = operator()
        positions = (where for node in nodes for where in one.mutation_positions(node))
        for occurrence, where in enumerate(positions):
            found.setdefault(where, []).append((name, occurrence))
    alike: Counter[str] = Counter()
    for (start, _), changes in sorted(found.items()):
        text = lines[start[0] - 1].strip()
        alike[text] += 1
        yield _Place(target, path, start, text, alike[text], tuple(changes))


def _mutant(place: _Place, operator: str, occurrence: int) -> Mutant | None:
    """The mutant, or None where the change is none to a Python that runs."""
    source = (ROOT / place.path).read_text(encoding="utf-8")
    try:
        code = mutate_code(source, get_operator(operator)(), occurrence)
    except AttributeError:
        # cosmic-ray 8.7 cannot replace an exception that is named with its module
        return None
    if code is None or _meaning(code) in (None, _meaning(source)):
        return None
    old, new = source.splitlines(), code.splitlines()
    changed = difflib.SequenceMatcher(None, old, new, autojunk=False)
    _, start, end, new_start, new_end = next(
        block for block in changed.get_opcodes() if block[0] != "equal"
    )
    before, after = (
        " ".join(" ".join(lines).split()) for lines in (old[start:end], new[new_start:new_end])
    )
    name = operator.rpartition("/")[2]
    return Mutant(place.target, place.path, start + 1, name, occurrence, before, after, code)


@lru_cache(maxsize=64)
def _meaning(source: str) -> str | None:
    """What runs of it, or None for no Python.

    Without what the type checker judges: annotations, and how arguments may be given.
    """
    try:
        return ast.dump(_WithoutTypes().visit(ast.parse(source)))
    except SyntaxError:
        return None


class _WithoutTypes(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "dataclass":
            node.keywords = [one for one in node.keywords if one.arg not in FORBIDDING]
        return self.generic_visit(node)

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        # which of them go by name only
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.defaults += [one for one in node.kw_defaults if one is not None]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)
