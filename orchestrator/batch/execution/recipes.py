"""From a job to the graph that a server gets, and from its picture to a verdict."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ...client.client import Client
from ...protocol import FileRef, Graph
from ...runs.pictures import find_picture, verify
from ...workflow.catalogue import Catalogue
from ...workflow.checking import check
from ...workflow.layout import Layout
from ...workflow.roles import image_inputs
from ..logic.assignments import Assignment
from ..logic.easing import eased, rungs
from ..logic.gates import JudgedPicture
from ..logic.jobs import Job
from ..logic.planning import Planner
from ..logic.prefixes import name_files, prefix_of
from ..logic.retry import Rung
from ..logic.seed_batches import batched, can_batch
from .downloader import Judgement
from .judging import judgement_of
from .store.store import Store


class Recipes:
    """How the jobs of one batch become graphs; may be used by several threads."""

    def __init__(
        self,
        planner: Planner,
        catalogue: Catalogue,
        workflow: Path,
        store: Store,
        canvas: Mapping[str, Any] | None = None,
    ) -> None:
        self._planner = planner
        # the workflow's own file, where that is a canvas
        self._layout = None if canvas is None else Layout(canvas, catalogue)
        self._info = catalogue
        self._workflow = workflow
        self._store = store
        self._lock = threading.Lock()
        # {classes of a graph: whether it takes in pictures}
        self._takes_pictures: dict[frozenset[str], bool] = {}
        # the group that was asked about last, and what the answer was
        self._group = ("", False)
        # Whether a gate of the batch compares the pictures with each other.
        self._compares = store.compares_pictures()
        # what each connection has uploaded: {path: name on the server}
        self._uploaded: WeakKeyDictionary[Client, dict[Path, str]] = WeakKeyDictionary()

    def check(self, client: Client) -> None:
        """Raise GraphError where a server lacks nodes or models that the next job needs."""
        for job in self._store.pending(1):
            check(self._plain(job), client.catalogue())

    def graph(self, assignment: Assignment, client: Client) -> Graph:
        """The graph to send; pictures that it takes in are uploaded, each once a connection."""
        graph = self._plain(assignment.jobs[0])
        if len(assignment.jobs) > 1:
            graph = batched(graph, [job.seed_now or 0 for job in assignment.jobs])
        if assignment.degradation.vae_tiling or assignment.degradation.offload:
            graph = eased(graph, assignment.degradation, self._info)
        self._upload(graph, client)
        name_files(graph, prefix_of(assignment.jobs[0].key))
        return graph

    def extra_data(self, graph: Graph) -> dict[str, Any]:
        """What pictures shall carry besides the graph: the canvas with its values, if any.

        A canvas cannot say that several seeds share a graph; those pictures have the graph alone.
        """
        if self._layout is None:
            return {}
        with self._lock:
            canvas = self._layout.filled(graph)
        return {} if canvas is None else {"extra_pnginfo": {"workflow": canvas}}

    def can_batch(self, job: Job) -> bool:
        """Say whether the seeds of a job's group may share a graph."""
        group, answer = self._group
        if job.group != group:
            answer = can_batch(self._plain(job), self._info)
            self._group = (job.group, answer)
        return answer

    def rungs(self, assignment: Assignment) -> Sequence[Rung]:
        """What could be made easier about an assignment."""
        graph = self._plain(assignment.jobs[0])
        return rungs(graph, self._info, together=len(assignment.jobs))

    def needs_pixels(self, job: Job) -> bool:
        """Say whether a gate measures the job's picture, or compares it with others."""
        return bool(job.gates) or self._compares

    def judge(self, job: Job, picture: JudgedPicture) -> Judgement:
        """What the job's gates say of its picture."""
        return judgement_of(job, picture)

    def _plain(self, job: Job) -> Graph:
        with self._lock:
            return self._planner.graph(job)

    def _upload(self, graph: Graph, client: Client) -> None:
        classes = frozenset(node["class_type"] for node in graph.values())
        if self._takes_pictures.get(classes) is False:
            return
        found = image_inputs(graph, self._info)
        self._takes_pictures[classes] = bool(found)
        sent = self._uploaded.setdefault(client, {})
        for picture in found:
            path = find_picture(picture.value, self._workflow)
            if path is None:
                # Only the server has it; its validation says if it has not.
                continue
            if path not in sent:
                verify(path)
                sent[path] = _name(client.upload(path))
            graph[picture.node_id]["inputs"][picture.input] = sent[path]


def _name(file: FileRef) -> str:
    return f"{file.subfolder}/{file.filename}" if file.subfolder else file.filename
