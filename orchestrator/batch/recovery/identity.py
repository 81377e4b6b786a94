"""Whose a picture is: the job whose graph it carries; with no I/O.

Two graphs are compared as `workflow.signatures` does it, by what leads to their output nodes, but
for names of files and of pictures that go in, which servers give. Where a graph takes in pictures,
the name that its own files had on the server tells the job, as it follows from the job's key and so
from the bytes of those pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from ...errors import GraphError
from ...protocol import Graph
from ...workflow.catalogue import Catalogue
from ...workflow.roles import image_inputs
from ...workflow.signatures import digests
from ..logic.easing import eased
from ..logic.gates import takes_any_graph
from ..logic.jobs import Job
from ..logic.planning import NOT_IN_KEY
from ..logic.prefixes import prefix_of, prefixes_in
from ..logic.retry import Degradation
from ..logic.seed_batches import apart

# What all graphs become alike in, however a server was spared.
_EASIEST = Degradation(vae_tiling=True, offload=True)
# Rolls of a job that are tried: people may ask for any number of them, beside those of gates.
_MOST_ROLLS = 1000


class Jobs:
    """The jobs of a plan, to be found by graphs; `graph_of` is their planner's."""

    def __init__(
        self, jobs: Iterable[Job], graph_of: Callable[[Job], Graph], catalogue: Catalogue
    ) -> None:
        self._graph_of = graph_of
        self._info = catalogue
        self._jobs = list(jobs)
        self._by_prefix = {prefix_of(job.key): job for job in self._jobs}
        self._by_name = {job.name: job for job in self._jobs}

    def called(self, name: str) -> Job | None:
        """The job of a name, if there is one."""
        return self._by_name.get(name)

    def owners(self, graph: Graph) -> tuple[Job, ...]:
        """The jobs of which a picture with this graph may be; none where it is no job's.

        Several where one graph made several pictures, or where nothing tells jobs apart. A job
        whose seed was rolled again has its `roll`.
        """
        try:
            return self._found(graph)
        except GraphError:
            # A value that is nested too deeply, which no graph of ours has.
            return ()

    def _found(self, graph: Graph) -> tuple[Job, ...]:
        hints = [self._by_prefix[one] for one in prefixes_in(graph) if one in self._by_prefix]
        for index, form in ((self._plain, _as_it_is), (self._eased, self._made_easy)):
            found = self._told_apart(index[self._token(form(graph))], graph, hints)
            found = found or self._seeds(index, form, graph, hints)
            if found:
                return found
            for job in hints:
                if rolled := self._rolled(job, graph, self._token(form(graph)), form):
                    return (rolled,)
        return tuple(job for job in hints if takes_any_graph(job.gates))

    def _told_apart(self, found: list[Job], graph: Graph, hints: list[Job]) -> tuple[Job, ...]:
        """Those of equal jobs that the names of files on the server speak for, if any do."""
        if len(found) > 1 or (found and image_inputs(graph, self._info)):
            named = {*prefixes_in(graph)}
            hinted = tuple(job for job in found if job in hints)
            # A name of another job's says that other pictures went in.
            return hinted if hinted or named else tuple(found)
        return tuple(found)

    def _seeds(
        self,
        index: Mapping[str, list[Job]],
        form: Callable[[Graph], Graph],
        graph: Graph,
        hints: list[Job],
    ) -> tuple[Job, ...]:
        """The jobs of a graph of several seeds, whose files are named after the first of them."""
        jobs = []
        for single in apart(graph):
            found = index[self._token(form(single))]
            if hints or image_inputs(single, self._info):
                groups = {job.group for job in hints}
                found = [job for job in found if job.group in groups]
            jobs += found if len(found) == 1 else []
        return tuple(jobs)

    def _rolled(
        self, job: Job, graph: Graph, token: str, form: Callable[[Graph], Graph]
    ) -> Job | None:
        numbers = {one for node in graph.values() for one in node["inputs"].values() if _whole(one)}
        for roll in range(1, _MOST_ROLLS + 1):
            rolled = replace(job, roll=roll)
            # To hash a number is a thousandth of the work of making a graph.
            is_near = rolled.seed_now in numbers
            if is_near and self._token(form(self._graph_of(rolled))) == token:
                return rolled
        return None

    @cached_property
    def _plain(self) -> defaultdict[str, list[Job]]:
        return self._indexed(_as_it_is)

    @cached_property
    def _eased(self) -> defaultdict[str, list[Job]]:
        return self._indexed(self._made_easy)

    def _indexed(self, form: Callable[[Graph], Graph]) -> defaultdict[str, list[Job]]:
        found: defaultdict[str, list[Job]] = defaultdict(list)
        for job in self._jobs:
            found[self._token(form(self._graph_of(job)))].append(job)
        return found

    def _made_easy(self, graph: Graph) -> Graph:
        return eased(graph, _EASIEST, self._info)

    def _token(self, graph: Graph) -> str:
        """What leads to the output nodes of a graph, as one text."""
        pictures = image_inputs(graph, self._info)
        if pictures:
            graph = {key: {**node, "inputs": dict(node["inputs"])} for key, node in graph.items()}
            for one in pictures:
                graph[one.node_id]["inputs"][one.input] = None
        found = digests(graph, NOT_IN_KEY)
        outputs = [digest for node_id, digest in found.items() if self._is_output(graph[node_id])]
        return "\n".join(sorted(outputs or found.values()))

    def _is_output(self, node: dict[str, object]) -> bool:
        known = self._info.find(str(node["class_type"]))
        return known is not None and known.is_output


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _as_it_is(graph: Graph) -> Graph:
    return graph
