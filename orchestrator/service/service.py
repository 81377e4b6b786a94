"""The service: what both faces, and whoever else, may ask of it.

Nothing here knows of HTTP. Every method may be called from any thread and may wait for the
database, but for `glimpse`, which only looks into memory.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ..batch.fleet import Care, Processes, Server, fleet
from ..batch.jobs import Attempt, Job, State
from ..batch.planning import model_of
from ..batch.store.store import Store
from ..errors import (
    AccessDenied,
    BadValue,
    GraphError,
    InputError,
    NodeProblem,
    NotFound,
    RequestRefused,
    SpriteworksError,
    StoreError,
    UsageError,
)
from ..local.serving import Choice
from ..protocol import Event, Graph
from ..workflow.catalogue import Catalogue
from ..workflow.document import document_of
from ..workflow.graph import Form, form_of
from ..workflow.roles import parameters
from .assets import Asset, Assets, Content
from .catalogues import Catalogues, Known, Objection, models_of
from .events import OUTPUT, STATUS, Hub, Watcher
from .keys import Keys
from .limits import Limits, RateLimiter
from .loop import Loop, ServerView
from .manifests import MOST_JOBS, asset_names, batch_of
from .places import Places
from .prompting import (
    Prompt,
    Prompted,
    Workflows,
    WorkflowView,
    native_size,
    size_warnings,
    with_assets,
)
from .recipe import IntoStorage, RequestRecipe
from .references import references, replaced
from .requests import Figures, Filter, New, Once, Requests
from .storage import Part
from .views import ErrorView, OutputView, RequestView, Status, told_of
from .watching import Runs
from .webhooks import Webhooks

logger = logging.getLogger(__name__)

# Requests that have ended and that are kept in memory, and graphs.
_ENDED, _GRAPHS = 2048, 512
# s between two askings of a server for what it has, on behalf of requests that do not fit
_ASK_AGAIN = 5.0
# s that a server has for that
_ASKING = 10.0
# s between two rounds of tidying up
_TIDYING = 60.0
# s after which a client may come again whose request is refused because no server has answered yet
_NOT_READY = 2.0
# s after which it is looked again whether there are keys
_KEYS_FRESH = 1.0
_MOST_LABELS, _LONGEST_LABEL_NAME, _LONGEST_LABEL = 16, 64, 512
_MOST_PRIORITY = 100
# the label that the pictures of one manifest share
BATCH = "batch"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the service treats requests."""

    # s that results stay
    retention: float = 7 * 24 * 3600.0
    # requests of all together that may wait
    most_waiting: int = 20_000


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks; without keys everybody is the same."""

    owner: str = ""
    limits: Limits = field(default_factory=Limits)


_ANYBODY = Caller()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A graph to run, and what goes with it."""

    # as it was posted
    workflow: Any
    labels: Mapping[str, str] = field(default_factory=dict)
    # higher goes first, among the requests of all
    priority: int = 0
    # secrets for nodes that ask other services; kept in memory only
    secrets: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    # URL that is told of its end; it was looked at by `Service.check_webhook`
    webhook: str = ""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """Requests that were taken, one or more."""

    views: Sequence[RequestView]
    # True where their idempotency key had been seen before
    replayed: bool = False

    @property
    def view(self) -> RequestView:
        """The first of them."""
        return self.views[0]


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """A model that servers have."""

    name: str
    servers: tuple[str, ...]
    # (width, height) in px that it was made for; None where its name does not tell
    size: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """Whether requests can be served."""

    is_ready: bool
    # {what: "" where it is well, else what is wrong}
    checks: Mapping[str, str]


class Service:
    """Takes requests, has them made, and tells of them."""

    def __init__(
        self,
        store: Store,
        choice: Choice,
        *,
        assets: Assets,
        keys: Keys,
        hub: Hub,
        webhooks: Webhooks,
        workflows: Workflows,
        care: Care | None = None,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.assets, self.keys, self.hub, self.webhooks = assets, keys, hub, webhooks
        self.rates = RateLimiter()
        self.workflows = workflows
        self.settings = settings or Settings()
        self.catalogues = Catalogues(lambda: self._loop.sort_anew())
        self._clock = clock
        self._store = store
        self._requests = Requests(store)
        self._runs, self._places = Runs(), Places()
        # never held while the record is asked: its own lock comes first
        self._lock = threading.Lock()
        # requests that have not ended, and the last of those that have
        self._live: dict[str, RequestView] = {}
        self._ended: OrderedDict[str, RequestView] = OrderedDict()
        self._graphs: OrderedDict[str, Graph] = OrderedDict()
        self._secrets: dict[str, Mapping[str, str]] = {}
        self._in_flight: set[tuple[str, str]] = set()
        # why the latest attempt of a request failed: (kind, sentence)
        self._causes: dict[str, tuple[str, str]] = {}
        self._asked: dict[str, float] = {}
        self._has_keys, self._keys_asked = True, -_KEYS_FRESH - 1
        self._stopping = threading.Event()
        self._servers = fleet(choice, care or Care(), store)
        self._loop = Loop(
            store,
            self._servers,
            lambda server: RequestRecipe(server, self.catalogues, self, self),
            IntoStorage(self, self),
            self,
            self._fits,
        )
        self._tidier = threading.Thread(target=self._tidy, name="tidier", daemon=True)

    # ------------------------------------------------------------------- life

    def start(self) -> None:
        """Take up what an earlier process left, and begin to work."""
        Processes(self._store).end_leftovers()
        for id, state, reason in self._requests.unnoticed():
            self.moved(id, state, "", reason)
        for view in self._requests.live():
            self._live[view.id] = view
            self._places.add(view.id, view.owner, view.priority, view.order)
        self._loop.start()
        self._tidier.start()

    def stop(self, seconds: float = 3.0) -> None:
        """Hand out nothing more; what servers have after `seconds` is adopted by the next start."""
        self._stopping.set()
        self._loop.stop(seconds)
        self._tidier.join(seconds)

    # ------------------------------------------------------------------- asking for pictures

    def submit(
        self, caller: Caller, prepare: Callable[[], Sequence[Wanted]], once: Once | None = None
    ) -> Submitted:
        """Take requests, all or none. `prepare` says what is wanted, and may refuse.

        With `once` they are taken once, however often they are posted. Raises RequestRefused,
        LimitReached and their kin.
        """
        if once is None:
            views = self._take(caller, prepare())
            assert views is not None
            return Submitted(views=views)
        if (known := self._replayed(caller, once)) is not None:
            return known
        with self._alone(caller, once):
            views = self._take(caller, prepare(), once)
        if views is not None:
            return Submitted(views=views)
        # Another process was sooner.
        known = self._replayed(caller, once)
        if known is None:
            raise RequestRefused("idempotency_conflict", _IN_FLIGHT, retry_after=1.0)
        return known

    def _take(
        self, caller: Caller, wanted: Sequence[Wanted], once: Once | None = None
    ) -> list[RequestView] | None:
        """Write requests down and let them wait; None where their key is taken."""
        self._check_queue(caller, len(wanted))
        now = self._clock()
        news = [self._new(caller, one, now) for one in wanted]
        for new, one in zip(news, wanted, strict=True):
            if one.secrets:
                self._secrets[new.id] = dict(one.secrets)
        views = None
        try:
            views = self._requests.add(news, self._begin_to_wait, once)
        finally:
            if views is None:
                for new in news:
                    self._forget(new.id)
        if views is None:
            return None
        for view in views:
            self._publish_status(view)
        self._loop.arrived()
        return [self._dressed(view) for view in views]

    def _new(self, caller: Caller, wanted: Wanted, now: float) -> New:
        graph = self._checked(caller, wanted)
        self._check_size(caller, graph)
        new = New(
            id=str(uuid.uuid4()),
            owner=caller.owner,
            graph=graph,
            model=self._model(graph),
            created_at=now,
            expires_at=now + self.settings.retention,
            priority=max(-_MOST_PRIORITY, min(wanted.priority, _MOST_PRIORITY)),
            extra=wanted.extra,
            notes=wanted.notes,
            warnings=wanted.warnings,
            labels=_checked_labels(wanted.labels),
            nodes=len(graph),
            webhook=wanted.webhook,
        )
        self._keep_graph(new.id, graph)
        return new

    def _begin_to_wait(self, views: Sequence[RequestView]) -> None:
        # Before anybody else sees the rows: the next moment a server may have them.
        for view in views:
            self._live[view.id] = view
            self._places.add(view.id, view.owner, view.priority, view.order)

    def _replayed(self, caller: Caller, once: Once) -> Submitted | None:
        known = self._requests.known(caller.owner, once.key, self._clock())
        if known is None:
            return None
        id, fingerprint = known
        if fingerprint != once.fingerprint:
            raise RequestRefused(
                "idempotency_key_reuse",
                "this Idempotency-Key came with another request before; take a new one for each",
            )
        first = self.get(caller, id)
        batch = first.labels.get(BATCH) if BATCH in first.notes else None
        if batch is None:
            return Submitted(views=[first], replayed=True)
        mine = Filter(owner=caller.owner, labels={BATCH: batch})
        found = self._requests.page(mine, MOST_JOBS)
        return Submitted(views=[self._dressed(view) for view in reversed(found)], replayed=True)

    @contextmanager
    def _alone(self, caller: Caller, once: Once) -> Iterator[None]:
        mark = caller.owner, once.key
        with self._lock:
            if mark in self._in_flight:
                raise RequestRefused("idempotency_conflict", _IN_FLIGHT, retry_after=1.0)
            self._in_flight.add(mark)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight.discard(mark)

    def prompted(self, caller: Caller, prompt: Prompt) -> Prompted:
        """The graph that a prompt makes of a named workflow, for the servers that are there."""
        for asset in prompt.pictures.values():
            self._asset(caller.owner, asset)
        try:
            made = self.workflows.fill(prompt, self._catalogue())
        except (UsageError, GraphError):
            # A model may have been added since the servers told what they have.
            if not self._ask_again():
                raise
            made = self.workflows.fill(prompt, self._catalogue())
        kept = {
            name: self._keep_input(caller, path.read_bytes(), path.name)
            for name, path in made.files.items()
        }
        return replace(made, graph=with_assets(made.graph, kept))

    def batch(self, caller: Caller, manifest: str | Mapping[str, Any]) -> list[Wanted]:
        """The pictures of a manifest of `spriteworks batch`, for the servers that are there."""
        catalogue = self._catalogue()
        made = batch_of(manifest, self.workflows, catalogue)
        id = str(uuid.uuid4())
        wanted = []
        for one in made.pictures:
            ids = {name: name for name in asset_names(one.graph, catalogue) if _is_id(name)}
            notes = {
                "workflow": made.workflow,
                "seed": one.seed,
                "parameters": dict(one.parameters),
                "name": one.name,
                BATCH: made.name,
            }
            wanted.append(
                Wanted(
                    workflow=with_assets(one.graph, ids),
                    labels={BATCH: id},
                    priority=one.priority,
                    notes=notes,
                    warnings=size_warnings(one.parameters),
                )
            )
        if not wanted:
            raise RequestRefused("invalid_manifest", "the manifest asks for no picture")
        return wanted

    # ------------------------------------------------------------------- telling of them

    def glimpse(self, caller: Caller, id: str) -> RequestView | None:
        """A request, as far as memory has it; never waits. Raises NotFound for another's."""
        view = self._live.get(id) or self._ended.get(id)
        if view is None:
            return None
        if view.owner != caller.owner:
            raise _no_request()
        return self._dressed(view)

    def get(self, caller: Caller, id: str) -> RequestView:
        """A request; raises NotFound where there is none, or it is another's."""
        found = self.glimpse(caller, id)
        if found is not None:
            return found
        view = self._requests.get(id) if _is_id(id) else None
        if view is None or view.owner != caller.owner:
            raise _no_request()
        if view.status.is_final:
            self._keep_ended(view)
        return self._dressed(view)

    def page(
        self,
        caller: Caller,
        *,
        limit: int,
        statuses: frozenset[Status] = frozenset(),
        labels: Mapping[str, str] | None = None,
        before: int | None = None,
        outputs: bool = False,
    ) -> tuple[list[RequestView], int | None]:
        """Requests of the caller, the newest first, and where the next page begins, if any does."""
        wanted = Filter(owner=caller.owner, statuses=statuses, labels=labels or {}, before=before)
        found = self._requests.page(wanted, limit + 1, outputs=outputs)
        more = found[limit - 1].order if len(found) > limit else None
        return [self._dressed(view) for view in found[:limit]], more

    def watchable(self, caller: Caller, id: str) -> RequestView:
        """A request that is about to be watched; raises NotFound. Call it before `watch`."""
        view = self.get(caller, id)
        if not self.hub.knows(id):
            outputs = [(OUTPUT, output.to_json()) for output in view.outputs]
            # Where it has come to its end meanwhile, the hub knows it, and seeds nothing.
            final = view.status.is_final
            self.hub.seed(id, [*outputs, (STATUS, self._status(view))], final=final)
        return view

    def watch(self, id: str, after: int | None = None) -> Watcher:
        """What happens to a request, from now on, or behind event `after`."""
        return self.hub.watch(id, after)

    def owns(self, caller: Caller, id: str) -> bool:
        """Whether a request that is alive is the caller's."""
        view = self._live.get(id)
        return view is not None and view.owner == caller.owner

    def workflow(self, caller: Caller, id: str) -> Graph:
        """The graph of a request, as it was posted."""
        self.get(caller, id)
        return self.graph(id)

    def cancel(self, caller: Caller, id: str) -> RequestView:
        """Take a request back; one that has ended stays as it is."""
        view = self.get(caller, id)
        if view.status.is_final:
            return view
        self._loop.cancel(id)
        told = None
        with self._lock:
            # Unless it has come to its end meanwhile.
            live = self._live.get(id)
            if live is not None and live.status is not Status.CANCELING:
                told = self._live[id] = replace(live, status=Status.CANCELING)
        if told is not None:
            self._publish_status(told)
        return self.get(caller, id)

    def cancel_all(self, caller: Caller, *, waiting_only: bool = False) -> int:
        """Take back all that the caller has, or all that waits; returns how many."""
        mine = [view for view in list(self._live.values()) if view.owner == caller.owner]
        chosen = [one for one in mine if not waiting_only or one.status is Status.QUEUED]
        for view in chosen:
            self.cancel(caller, view.id)
        return len(chosen)

    # ------------------------------------------------------------------- who asks, and waits

    async def admit(self, secret: str | None) -> Caller:
        """Who asks with a key; raises AccessDenied. As long as none was made nobody needs one."""
        now = time.monotonic()
        if now - self._keys_asked > _KEYS_FRESH:
            self._has_keys, self._keys_asked = await asyncio.to_thread(self.keys.any), now
        if not self._has_keys:
            return _ANYBODY
        if secret is None:
            raise AccessDenied("a key is needed: Authorization: Bearer KEY")
        key = await self.keys.admit(secret)
        self.rates.take(key.id, key.limits)
        return Caller(owner=key.id, limits=key.limits)

    async def check_webhook(self, url: str | None) -> str:
        """A URL that may be told of an end, "" for None; raises RequestRefused for any other."""
        if url is None:
            return ""
        try:
            return await self.webhooks.check(url)
        except BadValue as error:
            raise RequestRefused("invalid_webhook", str(error)) from error

    async def wait(self, caller: Caller, id: str, seconds: float) -> RequestView:
        """A request once it has come to its end, or as it is after `seconds`."""
        late = time.monotonic() + seconds
        view = await asyncio.to_thread(self.watchable, caller, id)
        if not view.status.is_final:
            with self.watch(id) as watcher:
                while not watcher.ended and (left := late - time.monotonic()) > 0:
                    await watcher.next(left)
        return await asyncio.to_thread(self.get, caller, id)

    # ------------------------------------------------------------------- files

    def receiving(self) -> AbstractContextManager[Part]:
        """A part to write an upload on, for `upload`; what is not taken is dropped."""
        return self.assets.receive()

    def upload(
        self,
        caller: Caller,
        file: Part | bytes,
        *,
        name: str,
        content_type: str = "",
        expected_hash: str | None = None,
        tags: Sequence[str] = (),
    ) -> Asset:
        """Keep a file of the caller's; see `Assets.add`."""
        return self.assets.add(caller.owner, file, name, content_type, expected_hash, tags)

    def picture(self, caller: Caller, text: str, decode: Callable[[], bytes]) -> str:
        """The asset of a picture that is named by its asset's id, or comes with the request."""
        return text if _is_id(text) else self._keep_input(caller, decode(), "upload.png")

    def _keep_input(self, caller: Caller, content: bytes, name: str) -> str:
        expires_at = self._clock() + self.settings.retention
        kept = self.assets.add(caller.owner, content, name, "image/png", expires_at=expires_at)
        return kept.id

    def bytes_of(self, output: OutputView) -> bytes:
        """The bytes of what a request made."""
        return self.assets.storage.read(output.hash)

    def from_hash(self, caller: Caller, hash: str, name: str | None, tags: Sequence[str]) -> Asset:
        """Make one more file of bytes that the caller has; see `Assets.from_hash`."""
        return self.assets.from_hash(caller.owner, hash, name, tags)

    def has_hash(self, caller: Caller, hash: str) -> bool:
        """Whether the caller has a file of these bytes."""
        return self.assets.has_hash(caller.owner, hash)

    def asset(self, caller: Caller, id: str) -> Asset:
        """A file of the caller's; raises NotFound."""
        return self.assets.get(caller.owner, id)

    def content(
        self, caller: Caller, id: str, range_header: str | None, if_range: str | None
    ) -> Content:
        """The bytes of a file of the caller's; see `Assets.content`."""
        return self.assets.content(caller.owner, id, range_header, if_range)

    def delete_asset(self, caller: Caller, id: str) -> None:
        """Remove a file of the caller's; raises NotFound."""
        self.assets.delete(caller.owner, id)

    # ------------------------------------------------------------------- what there is

    def servers(self) -> list[tuple[ServerView, Known | None, str]]:
        """Each server, what it told of itself, and the request that it runs."""
        known = self.catalogues.known
        found = []
        for view in self._loop.servers():
            if view.name not in known:
                words = view.words or "it has not answered yet"
                view = replace(view, is_open=False, words=words)
            found.append((view, known.get(view.name), self._runs.on(view.name)))
        return found

    def models(self) -> list[ModelView]:
        """The models that loaders list, by name."""
        found: dict[str, list[str]] = {}
        for server, known in self.catalogues.known.items():
            for name in models_of(known.catalogue):
                found.setdefault(name, []).append(server)
        return [
            ModelView(name=name, servers=tuple(servers), size=native_size(name))
            for name, servers in sorted(found.items())
        ]

    def workflow_views(self) -> list[WorkflowView]:
        """The workflows that can be named, and what they take."""
        catalogue = self._catalogue()
        return [self.workflows.view(name, catalogue) for name in self.workflows.names()]

    def ready(self) -> Readiness:
        """Whether requests can be served now."""
        checks = {"loop": "" if self._loop.is_running else "it has ended", "database": ""}
        try:
            self._requests.count("")
        except StoreError as error:
            checks["database"] = str(error)
        servers = [view for view, _, _ in self.servers()]
        well = any(view.is_open for view in servers)
        checks["servers"] = "" if well else "; ".join(f"{one.name}: {one.words}" for one in servers)
        return Readiness(is_ready=not any(checks.values()), checks=checks)

    def figures(self) -> Figures:
        """What metrics are made from."""
        return self._requests.figures(self._clock())

    # ------------------------------------------------------------------- for the recipes

    def graph(self, key: str) -> Graph:
        """The graph of a request, as it was posted; not to be changed."""
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._requests.graph(key)
            self._keep_graph(key, graph)
        return graph

    def extra(self, key: str, graph: Graph, catalogue: Catalogue) -> dict[str, Any]:
        """What goes along with its graph, as it is sent to a server with this catalogue."""
        canvas = self._requests.extra(key).get("canvas")
        drawn = self.workflows.drawn(canvas, graph, catalogue) if canvas else None
        return {
            **({} if drawn is None else {"extra_pnginfo": {"workflow": drawn}}),
            **self._secrets.get(key, {}),
        }

    def sent(self, key: str, server: str, graph: Graph) -> None:
        """A graph is about to be sent to a server for a request."""
        self._runs.sent(key, graph, server)

    def open_input(self, job_id: str, asset_id: str) -> tuple[str, str, bytes]:
        """The (hash, name, content) of an asset that a request may use; raises InputError."""
        try:
            asset = self.assets.get(self._owner(job_id), asset_id)
            return asset.hash, asset.name, self.assets.storage.read(asset.hash)
        except NotFound as error:
            raise InputError(f"the asset {asset_id} is no longer there") from error

    def keep_output(
        self,
        job_id: str,
        content: bytes,
        *,
        name: str,
        content_type: str,
        node_id: str,
        place: int,
    ) -> str:
        """Keep a file that a request made; returns the id of its asset."""
        view = self._live.get(job_id) or self._requests.get(job_id)
        if view is None:
            raise StoreError(f"there is no request {job_id}")
        asset = self.assets.add_output(
            view.owner,
            content,
            name,
            content_type,
            job_id=job_id,
            node_id=node_id,
            place=place,
            expires_at=view.expires_at,
        )
        return asset.id

    # ------------------------------------------------------------------- for the loop

    def moved(self, key: str, state: str, server: str, reason: str) -> None:
        """A request is in another state."""
        # No lock here: the record's own is held by whoever calls, and comes before all others.
        view = self._live.get(key) or self._requests.get(key)
        if view is None:
            return
        if state == "running":
            self._begin(view, server)
        elif state in (State.CLAIMED.value, State.SUBMITTED.value):
            self._live[key] = replace(view, server=server)
        elif state == State.PENDING.value:
            self._wait_again(view)
        else:
            self._end(view, State(state), reason)

    def heard(self, key: str, server: str, event: Event) -> None:
        """A server told something of a request."""
        news = self._runs.heard(key, server, event)
        if news is None:
            return
        if news.progress is not None:
            self.hub.publish(key, "progress", news.progress.to_json())
        if news.preview is not None:
            self.hub.publish(key, "preview", news.preview)

    def failed_once(self, names: Sequence[str], error: str, cause: str) -> None:
        """An attempt failed."""
        for name in names:
            self._causes[name] = cause, error
            self.hub.publish(name, "log", {"level": "warning", "message": error.splitlines()[0]})

    def adopted(self, attempt: Attempt) -> None:
        """A server still has what an earlier process sent."""
        for shot in attempt.shots:
            self._runs.sent(shot.key, self.graph(shot.key), attempt.server)

    def _begin(self, view: RequestView, server: str) -> None:
        if view.status.is_final or view.started_at is not None:
            return
        now = self._clock()
        status = Status.CANCELING if view.status is Status.CANCELING else Status.RUNNING
        view = replace(view, status=status, started_at=now, server=server or view.server)
        self._live[view.id] = view
        self._places.remove(view.id)
        self._requests.began(view.id, now)
        self._publish_status(view)

    def _wait_again(self, view: RequestView) -> None:
        self._runs.ended(view.id)
        if view.started_at is not None:
            self._requests.waits_again(view.id)
        view = replace(view, status=Status.QUEUED, started_at=None, server="", progress=None)
        self._live[view.id] = view
        self._places.add(view.id, view.owner, view.priority, view.order)
        self._publish_status(view)

    def _end(self, view: RequestView, state: State, reason: str) -> None:
        told = self._runs.ended(view.id)
        kind, words = self._causes.pop(view.id, ("", ""))
        error = None
        if state in (State.FAILED, State.QUARANTINED):
            error = told or ErrorView(
                code=_CODES.get(kind, kind or "job_failed"), message=reason or words
            )
        now = self._clock()
        with self._store.transaction():
            self._requests.ended(view.id, now, view.server, error)
            self._tell_webhook(view.id)
        self._forget(view.id)
        self.catalogues.forget(view.id)
        ended = self._requests.get(view.id)
        if ended is None:
            return
        self._keep_ended(ended)
        for output in ended.outputs:
            self.hub.publish(view.id, OUTPUT, output.to_json())
        self._publish_status(ended)

    def _tell_webhook(self, id: str) -> None:
        view = self._requests.get(id)
        if view is not None and view.webhook:
            kind = f"job.{view.status.value}"
            self.webhooks.enqueue(view.owner, id, view.webhook, kind, told_of(view))

    # ------------------------------------------------------------------- inside

    def _dressed(self, view: RequestView) -> RequestView:
        """A view with what changes from moment to moment."""
        if view.status.is_final:
            return view
        live = self._live.get(view.id, view)
        return replace(
            live,
            queue_position=self._places.of(view.id),
            progress=self._runs.progress(view.id) if live.started_at is not None else None,
        )

    def _publish_status(self, view: RequestView) -> None:
        told = self._status(view)
        self.hub.publish(view.id, STATUS, told, final=view.status.is_final)

    def _status(self, view: RequestView) -> dict[str, Any]:
        return {"status": view.status.value, "queue_position": self._places.of(view.id)}

    def _forget(self, id: str) -> None:
        """A request has ended, or was not taken."""
        self._places.remove(id)
        self._secrets.pop(id, None)
        with self._lock:
            self._live.pop(id, None)
            self._graphs.pop(id, None)

    def _keep_ended(self, view: RequestView) -> None:
        with self._lock:
            self._ended[view.id] = view
            while len(self._ended) > _ENDED:
                self._ended.popitem(last=False)

    def _keep_graph(self, key: str, graph: Graph) -> None:
        with self._lock:
            self._graphs[key] = graph
            while len(self._graphs) > _GRAPHS:
                self._graphs.popitem(last=False)

    def _owner(self, id: str) -> str:
        view = self._live.get(id) or self._requests.get(id)
        return view.owner if view else ""

    def _fits(self, job: Job, server: str) -> bool:
        return self.catalogues.fits(job.key, lambda: self._plain(self.graph(job.key)), server)

    def _plain(self, graph: Graph) -> Graph:
        return replaced(graph, lambda asset: asset)

    def _checked(self, caller: Caller, wanted: Wanted) -> Graph:
        """The graph that is asked for, if a server takes it."""
        graph = _parsed(wanted.workflow)
        try:
            assets = {asset for _, _, asset in references(graph)}
        except BadValue as error:
            raise RequestRefused("missing_asset", str(error)) from error
        for asset in assets:
            self._asset(caller.owner, asset)
        self._catalogue()
        plain = self._plain(graph)
        objection = self.catalogues.objection(plain)
        if objection is not None and self._ask_again():
            objection = self.catalogues.objection(plain)
        if objection is not None:
            raise _not_valid(objection)
        return graph

    def _asset(self, owner: str, id: str) -> None:
        try:
            self.assets.get(owner, id)
        except NotFound as error:
            raise RequestRefused(
                "missing_asset", f"there is no asset {id[:64]!r}; upload the file first"
            ) from error

    def _catalogue(self) -> Catalogue:
        catalogue = self.catalogues.any()
        if catalogue is None:
            words = "; ".join(f"{view.name}: {view.words}" for view, _, _ in self.servers())
            raise RequestRefused(
                "deployment_not_ready",
                f"no server has answered yet ({words}); try again",
                retry_after=_NOT_READY,
            )
        return catalogue

    def _ask_again(self) -> bool:
        """Ask the servers what they have by now; False where that was done just now."""
        asked = False
        for server in self._servers:
            now = time.monotonic()
            with self._lock:
                if now - self._asked.get(server.name, -_ASK_AGAIN) < _ASK_AGAIN:
                    continue
                self._asked[server.name] = now
            asked = self._ask(server) or asked
        return asked

    def _ask(self, server: Server) -> bool:
        try:
            with server.connected() as client, client.at_most(_ASKING):
                known = Known(catalogue=client.catalogue(), stats=client.system_stats())
        except SpriteworksError as error:
            logger.info("%s does not tell what it has: %s", server.name, error)
            return False
        self.catalogues.learn(server.name, known)
        return True

    def _model(self, graph: Graph) -> str:
        plain = self._plain(graph)
        return model_of(plain, self.catalogues.taking(plain) or self._catalogue())

    def _check_queue(self, caller: Caller, count: int) -> None:
        if len(self._live) + count > self.settings.most_waiting:
            raise RequestRefused("queue_full", "too many requests wait; try again", retry_after=5.0)
        if caller.limits.queue is not None:
            mine = sum(one.owner == caller.owner for one in list(self._live.values()))
            caller.limits.check_queue(mine, count)

    def _check_size(self, caller: Caller, graph: Graph) -> None:
        if caller.limits == Limits():
            return
        plain = self._plain(graph)
        found = parameters(plain, self.catalogues.taking(plain) or self._catalogue())
        asked = {
            name: found[name]
            for name in ("width", "height", "steps", "batch_size")
            if isinstance(found.get(name), int)
        }
        try:
            caller.limits.check_size(**asked)
        except BadValue as error:
            raise RequestRefused("limit_exceeded", str(error)) from error

    def _tidy(self) -> None:
        while not self._stopping.wait(_TIDYING):
            try:
                self.tidy()
            except SpriteworksError as error:
                logger.warning("tidying up: %s", error)

    def tidy(self) -> int:
        """Forget requests and files whose time is over; returns how many requests."""
        now = self._clock()
        expired = self._requests.expired(now)
        for id in expired:
            self.assets.delete_of_job(id)
        self._requests.remove(expired)
        with self._lock:
            for id in expired:
                self._ended.pop(id, None)
        self._requests.forget_keys(now)
        self.assets.expire(now)
        self.keys.note_use()
        self.webhooks.forget_old()
        return len(expired)


_IN_FLIGHT = "a request with this Idempotency-Key is being taken right now; try again"
# What kinds of failures (`batch.retry.Kind`) are called in answers, where that is not their name.
_CODES = {
    "node_failed": "node_execution_error",
    "refused": "invalid_workflow",
    "server_lost": "server_lost",
}


def _parsed(workflow: Any) -> Graph:
    try:
        if form_of(workflow, "the workflow") is Form.CANVAS:
            raise RequestRefused(
                "workflow_format_ui",
                "this is a canvas file, as the editor saves it; export it with 'Export (API)'",
            )
        return dict(document_of(workflow, "").data)
    except GraphError as error:
        raise RequestRefused("invalid_workflow", str(error)) from error


def _not_valid(objection: Objection) -> RequestRefused:
    errors: dict[str, Any] = {}
    for problem in objection.problems:
        entry = errors.setdefault(
            problem.node_id,
            {"class_type": problem.class_type, "dependent_outputs": [], "errors": []},
        )
        entry["errors"].append(_told(problem))
    return RequestRefused("invalid_workflow", objection.message, details={"node_errors": errors})


def _told(problem: NodeProblem) -> dict[str, Any]:
    return {
        "type": problem.type,
        "message": problem.message,
        "details": problem.details,
        "extra_info": {},
    }


def _checked_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    if len(labels) > _MOST_LABELS:
        raise RequestRefused(
            "metadata_invalid", f"{len(labels)} labels are too many; {_MOST_LABELS} is the most"
        )
    for name, value in labels.items():
        if not isinstance(value, str) or "\0" in name + value:
            raise RequestRefused("metadata_invalid", f"the label {name[:64]!r} must be a text")
        if not 0 < len(name) <= _LONGEST_LABEL_NAME or len(value) > _LONGEST_LABEL:
            raise RequestRefused(
                "metadata_invalid",
                f"the label {name[:64]!r} is too long or empty; a name has 1 to "
                f"{_LONGEST_LABEL_NAME} characters, a value at most {_LONGEST_LABEL}",
            )
    return labels


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _no_request() -> NotFound:
    return NotFound("there is no job of that id")
