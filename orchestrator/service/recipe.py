"""From a request to the graph that a server gets, and from its files to what counts.

A request's graph is sent as it was posted, but for two things: references to assets become names of
files that were uploaded to that server, and files on the server are named after the request, so
that servers that share an output folder never mix them up, and two equal requests both save.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from ..batch.execution.collecting import CollectedPicture
from ..batch.execution.downloader import Judgement
from ..batch.logic.assignments import Assignment
from ..batch.logic.easing import eased, rungs
from ..batch.logic.gates import JudgedPicture
from ..batch.logic.jobs import Artifact, Job
from ..batch.logic.retry import Rung
from ..client.client import Client
from ..errors import InputError, ResultMissing, ResultWrong
from ..protocol import Graph, HistoryRecord
from ..runs.fetching import Fetched, fetch, wanted
from ..runs.looking import look
from ..runs.outputs import plain_name
from ..workflow.catalogue import Catalogue
from ..workflow.signatures import Signatures
from .assets import MOST_BYTES
from .catalogues import Catalogues, Known
from .content_types import type_of
from .references import references, replaced

# Inputs by which nodes name the files that they write on the server.
_PREFIX = "filename_prefix"
# hex digits of a request's id in its file names on the server
_PREFIX_DIGITS = 20
# characters of a text that a node shows and that is kept
_LONGEST_TEXT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file that a request made: its bytes are here, and it does not count yet."""

    # of its asset
    id: str
    # makes it an asset, within the transaction that ends the request
    keep: Callable[[], object]
    # forgets the bytes, where they were not kept
    drop: Callable[[], None]


class Files(Protocol):
    """The uploaded and the made files."""

    def open_input(self, job_id: str, asset_id: str) -> tuple[str, str, bytes]:
        """The (hash, name, content) of an asset that a request may use; raises InputError."""

    def take_output(
        self,
        job_id: str,
        content: bytes,
        *,
        name: str,
        content_type: str,
        node_id: str,
        place: int,
    ) -> Output:
        """Take a file that a request made; raises OutputError."""


class Order(Protocol):
    """What is known of requests where they are sent."""

    def graph(self, key: str) -> Graph:
        """The graph of a request, as it was posted; not to be changed."""

    def extra_data(self, key: str, graph: Graph, catalogue: Catalogue) -> dict[str, Any]:
        """What goes along with its graph, as it is sent to a server with this catalogue."""

    def sent(self, key: str, server: str, graph: Graph) -> None:
        """A graph is about to be sent for a request."""


class RequestRecipe:
    """How requests become graphs for one server; serves that server's worker."""

    def __init__(self, server: str, catalogues: Catalogues, orders: Order, files: Files) -> None:
        self._server = server
        self._catalogues = catalogues
        self._orders = orders
        self._files = files
        # the graph that was made last, and what goes along with it
        self._last: tuple[Graph | None, dict[str, Any]] = (None, {})
        # what each connection has uploaded: {(hash, suffix): name on the server}
        self._uploaded: WeakKeyDictionary[Client, dict[tuple[str, str], str]] = WeakKeyDictionary()

    def check(self, client: Client) -> None:
        """Learn what the server has; whether it suits a request is asked for each."""
        known = Known(catalogue=client.catalogue(), stats=client.system_stats())
        self._catalogues.learn(self._server, known)

    def graph(self, assignment: Assignment, client: Client) -> Graph:
        """The graph to send, its pictures uploaded; raises InputError for one that is gone."""
        job = assignment.jobs[0]
        posted = self._orders.graph(job.key)
        catalogue = self._catalogues.of(self._server)
        names = self._names(posted, job, client, catalogue)
        graph = replaced(posted, names.__getitem__)
        if assignment.degradation.vae_tiling or assignment.degradation.offload:
            graph = eased(graph, assignment.degradation, catalogue)
        for node in graph.values():
            if isinstance(node["inputs"].get(_PREFIX), str):
                node["inputs"][_PREFIX] = prefix_of(job.key)
        self._last = graph, self._orders.extra_data(job.key, graph, catalogue)
        self._orders.sent(job.key, self._server, graph)
        return graph

    def extra_data(self, graph: Graph) -> dict[str, Any]:
        """What goes along with the graph that was made last."""
        made, extra = self._last
        return extra if made is graph else {}

    def rungs(self, assignment: Assignment) -> Sequence[Rung]:
        """What could be made easier about a request."""
        graph = self._orders.graph(assignment.jobs[0].key)
        plain = replaced(graph, lambda asset: asset)
        known = self._catalogues.known.get(self._server)
        # Of a server that another process left it with nothing is known here.
        return [Rung.FREE] if known is None else rungs(plain, known.catalogue, together=1)

    def needs_pixels(self, job: Job) -> bool:
        """Say that nobody measures the pictures of requests."""
        return False

    def judge(self, job: Job, picture: JudgedPicture) -> Judgement:
        """Find nothing wrong."""
        return Judgement()

    def _names(
        self, graph: Graph, job: Job, client: Client, catalogue: Catalogue
    ) -> dict[str, str]:
        """{asset: name on the server} of all that a graph refers to, uploaded."""
        names: dict[str, str] = {}
        for node_id, name, asset in references(graph):
            node = graph[node_id]
            entry = catalogue.node_class(str(node["class_type"])).inputs_of(node["inputs"])
            is_picture = name in entry and entry[name].is_image_upload
            if asset not in names or is_picture:
                names[asset] = self._upload(client, job, asset, is_picture=is_picture)
        return names

    def _upload(self, client: Client, job: Job, asset: str, *, is_picture: bool) -> str:
        hash, name, content = self._files.open_input(job.key, asset)
        suffix = Path(plain_name(name)).suffix
        if is_picture:
            suffix = _picture_suffix(content, name)
        sent = self._uploaded.setdefault(client, {})
        if (hash, suffix) not in sent:
            # Named by its content: a name from outside could take the place of another's file.
            digest = hash.rpartition(":")[2][:32]
            file = client.upload_content(f"{digest}{suffix}", content)
            sent[hash, suffix] = (
                f"{file.subfolder}/{file.filename}" if file.subfolder else file.filename
            )
        return sent[hash, suffix]


class IntoStorage:
    """Collects what requests make into the service's storage, pictures and all else.

    An attempt may find at its end that another process has its request by now. So nothing of it is
    an asset before the transaction that ends it, which only its owner gets through.
    """

    def __init__(self, orders: Order, files: Files) -> None:
        self._orders = orders
        self._files = files
        # what attempts have brought here, by attempt and asset; each is one thread's alone
        self._held: dict[int | None, dict[str, Output]] = {}

    def fetch(
        self, client: Client, assignment: Assignment, record: HistoryRecord, sent: Signatures
    ) -> Iterator[CollectedPicture]:
        """Download what a request made, and take the texts that its nodes show.

        Raises ResultMissing where nodes that save have saved nothing, ResultWrong where a picture
        is none or another job's.
        """
        job = assignment.jobs[0]
        graph = self._orders.graph(job.key)
        files, texts = wanted(record), list(_texts(record))
        if not files and not texts and any(_PREFIX in node["inputs"] for node in graph.values()):
            raise ResultMissing(f"{job.name} ended well, and its record names no file")
        for number, one in enumerate(files):
            fetched = fetch(client, one, sent)
            if len(fetched.content) > MOST_BYTES:
                raise ResultWrong(f"{job.name} made a file of more than {MOST_BYTES:,} bytes")
            yield CollectedPicture(
                job=job,
                number=number,
                fetched=fetched,
                node=one.node,
                name=_name_of(one.file.filename, fetched.suffix, one.node, job.key, graph),
            )
        for number, (node, text) in enumerate(texts, len(files)):
            yield CollectedPicture(
                job=job, number=number, fetched=_as_file(text), node=node, name=f"{node}.txt"
            )

    def place(
        self,
        part: CollectedPicture,
        measured: Mapping[str, float],
        pixels: str,
        assignment: Assignment,
    ) -> Artifact:
        """Take the bytes of one file; `keep` makes it an asset."""
        fetched, found = part.fetched, part.fetched.look
        output = self._files.take_output(
            part.job.key,
            fetched.content,
            name=plain_name(part.name),
            content_type=type_of(fetched.content),
            node_id=part.node,
            place=part.number,
        )
        self._held.setdefault(assignment.attempt.id, {})[output.id] = output
        return Artifact(
            key=part.job.key,
            path=output.id,
            sha256=fetched.sha256,
            pixels_sha256=pixels,
            bytes=len(fetched.content),
            mtime_ns=0,
            width=found.width if found else 0,
            height=found.height if found else 0,
            seed=None,
            attempt_id=assignment.attempt.id,
            measured=measured,
        )

    def keep(self, artifact: Artifact) -> None:
        """Make a file an asset."""
        self._held[artifact.attempt_id][artifact.path].keep()

    def release(self, assignment: Assignment) -> None:
        """Drop what an attempt has brought here and was not kept."""
        for output in self._held.pop(assignment.attempt.id, {}).values():
            output.drop()


def prefix_of(key: str) -> str:
    """What the names of a request's files begin with on its server."""
    return key.replace("-", "")[:_PREFIX_DIGITS]


def _name_of(given: str, suffix: str, node: str, key: str, graph: Graph) -> str:
    """The name that a file would have had without our prefix."""
    asked = graph[node]["inputs"].get(_PREFIX) if node in graph else None
    name = str(PurePosixPath(plain_name(given)).with_suffix(suffix))
    ours = prefix_of(key)
    if isinstance(asked, str) and name.startswith(ours):
        name = (plain_name(asked) if asked else "") + name.removeprefix(ours)
    return name


def _texts(record: HistoryRecord) -> Iterator[tuple[str, str]]:
    """(node, text) of what nodes show as bare text, such as PreviewAny."""
    for node_id, output in record.outputs.items():
        values = output.get("text") if isinstance(output, Mapping) else None
        for value in values if isinstance(values, list | tuple) else ():
            if isinstance(value, str) and value:
                yield str(node_id), value[:_LONGEST_TEXT]


def _as_file(text: str) -> Fetched:
    content = text.encode("utf-8", "replace")
    return Fetched(content=content, sha256=sha256(content).hexdigest(), suffix=".txt", look=None)


def _picture_suffix(content: bytes, name: str) -> str:
    try:
        return look(content).suffix
    except ResultWrong as error:
        raise InputError(
            f"the asset {plain_name(name)!r} is no picture that can be read ({error}); upload a "
            "PNG, JPEG or WebP"
        ) from error
