"""The service: what both faces, and whoever else, may ask of it.

Nothing here knows of HTTP. Every method may be called from any thread and may wait for the
database, but for `glimpse`, which only looks into memory.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from ..batch.execution.fleet import Care, Processes, fleet
from ..batch.execution.store.store import Store
from ..batch.logic.jobs import Job
from ..errors import (
    AccessDenied,
    BadValue,
    GraphError,
    NotFound,
    RequestRefused,
    SpriteworksError,
    StoreError,
    UsageError,
)
from ..local.serving import Choice
from ..protocol import Graph
from ..version import __version__
from ..workflow.roles import image_inputs, parameters, seed_of, set_parameters
from .admission import Admission, plain
from .assets import Asset, Assets, Content
from .board import Board
from .catalogues import Catalogues, Known, models_of
from .events import OUTPUT, STATUS, EventHub, Watcher
from .intake import BATCH, Caller, Intake, Settings, Submitted, Wanted
from .keys import Keys
from .limits import RateLimiter
from .loop import Loop, ServerView
from .manifests import asset_names, batch_of
from .marks import Marks, Verdict
from .prompting import (
    Prompt,
    Prompted,
    Workflows,
    WorkflowView,
    native_size,
    refused,
    size_warnings,
    with_assets,
)
from .recipe import IntoStorage, RequestRecipe
from .references import references
from .requests import BatchView, Figures, Filter, Once, Requests
from .sessions import Sessions
from .standing import Standing
from .storage import PendingContent
from .supplies import Supplies
from .times import Times, seconds_left
from .views import OutputView, RequestView, Status
from .waking.wakeups import Polling, Wakeups
from .webhooks import Webhooks
from .workers.joining import SERVICE, mark
from .workers.logins import Logins
from .workers.registry import Worker, WorkerServer
from .workers.relay import Relay

logger = logging.getLogger(__name__)

# s between two rounds of tidying up
_TIDYING = 60.0
# s after which it is looked again whether there are keys
_KEYS_FRESH = 1.0
_ANYBODY = Caller()


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
        hub: EventHub,
        webhooks: Webhooks,
        workflows: Workflows,
        care: Care | None = None,
        settings: Settings | None = None,
        wakeups: Wakeups | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.assets, self.keys, self.hub, self.webhooks = assets, keys, hub, webhooks
        self.rates = RateLimiter()
        self.workflows = workflows
        self.settings = settings or Settings()
        self.catalogues = Catalogues(lambda: self._loop.sort_anew())
        self._clock = clock
        self._wakeups = wakeups or Polling()
        self._store = store
        self._requests = Requests(store)
        self.sessions = Sessions(store.database, clock)
        self.marks = Marks(store.database, clock)
        self._times = Times(self._requests.recent)
        self._has_keys, self._keys_asked = True, -_KEYS_FRESH - 1
        self._stopping = threading.Event()
        servers = fleet(choice, care or Care(), store)
        self.admission = Admission(self.catalogues, servers, assets, self._trouble)
        self.supplies = supplies = Supplies(
            self._requests, assets, workflows, self._about_to_send, Logins(store.database).of
        )
        standing = Standing(store, self._requests, webhooks, clock)
        self._board = Board(self._requests, hub, standing, supplies.graph, self._forgotten, clock)
        self.relay = Relay(store, self._board, self._requests, self.catalogues, webhooks.arrived)
        self._loop = Loop(
            store,
            servers,
            lambda server: RequestRecipe(server, self.catalogues, supplies, supplies),
            IntoStorage(supplies, supplies),
            self._board,
            self._fits,
        )
        self._intake = Intake(
            self._requests,
            self._board,
            self.admission,
            supplies,
            self.settings,
            is_alone=lambda: bool(servers) and not self.relay.workers(),
            arrived=self._arrived,
            clock=lambda: self._clock(),
        )
        self._tidier = threading.Thread(target=self._tidy, name="tidier", daemon=True)

    # ------------------------------------------------------------------- life

    def start(self) -> None:
        """Take up what an earlier process left, and begin to work."""
        Processes(self._store).end_leftovers()
        self._board.load()
        self._store.set_fact(SERVICE, __version__)
        mark(self._store, self.assets)
        self._loop.start()
        self.relay.start()
        self._tidier.start()

    def when_ended(self, tell: Callable[[RequestView], None]) -> None:
        """Have each request told of that ends from now on; called from several threads."""
        self._board.listeners.append(tell)

    def stop(self, seconds: float = 3.0) -> None:
        """Hand out nothing more; what servers have after `seconds` is adopted by the next start."""
        self._stopping.set()
        self._loop.stop(seconds)
        self.relay.stop(seconds)
        self._tidier.join(seconds)

    # ------------------------------------------------------------------- asking for pictures

    def submit(
        self, caller: Caller, prepare: Callable[[], Sequence[Wanted]], once: Once | None = None
    ) -> Submitted:
        """Take requests, all or none; see `Intake.submit`."""
        return self._intake.submit(caller, prepare, once)

    def prompted(self, caller: Caller, prompt: Prompt) -> Prompted:
        """The graph that a prompt makes of a named workflow, for the servers that are there."""
        for asset in prompt.pictures.values():
            self.admission.check_asset(caller.owner, asset)
        try:
            made = self.workflows.fill(prompt, self.admission.catalogue())
        except (UsageError, GraphError):
            # A model may have been added since the servers told what they have.
            if not self.admission.ask_again():
                raise
            made = self.workflows.fill(prompt, self.admission.catalogue())
        kept = {
            name: self._keep_input(caller, path.read_bytes(), path.name)
            for name, path in made.files.items()
        }
        return replace(made, graph=with_assets(made.graph, kept))

    def asked(self, caller: Caller, prompt: Prompt) -> Wanted:
        """What a prompt means; raises RequestRefused where no workflow makes it."""
        try:
            made = self.prompted(caller, prompt)
        except (UsageError, GraphError) as error:
            raise refused(error) from error
        notes = {
            "workflow": made.workflow,
            "seed": made.seed,
            "parameters": dict(made.parameters),
        }
        return Wanted(
            workflow=made.graph, extra_data=made.extra_data, notes=notes, warnings=made.warnings
        )

    def again(self, caller: Caller, id: str) -> Wanted:
        """The same as a request of the caller's, with a seed that is drawn anew."""
        view = self.get(caller, id)
        graph, catalogue = self.supplies.graph(id), self.admission.catalogue()
        try:
            drawn = set_parameters(plain(graph), [("seed", "random")], catalogue)
        except (UsageError, GraphError) as error:
            raise refused(error) from error
        assets = {asset: asset for _, _, asset in references(graph)}
        notes = {
            **view.notes,
            "seed": seed_of(drawn),
            "parameters": parameters(drawn, catalogue),
        }
        return Wanted(
            workflow=with_assets(drawn, assets),
            labels={name: value for name, value in view.labels.items() if name != BATCH},
            priority=view.priority,
            extra_data=self._requests.extra_data(id),
            notes={name: value for name, value in notes.items() if name != BATCH},
            warnings=view.warnings,
        )

    def pictures_of(self, caller: Caller, id: str) -> dict[str, str]:
        """The files that a request of the caller's used: {role: asset}."""
        graph = self.workflow(caller, id)
        assets = {asset for _, _, asset in references(graph)}
        known = image_inputs(plain(graph), self.admission.catalogue())
        return {one.role: one.value for one in known if one.value in assets}

    def batch(self, caller: Caller, manifest: str | Mapping[str, Any]) -> list[Wanted]:
        """The pictures of a manifest of `spriteworks batch`, for the servers that are there."""
        catalogue = self.admission.catalogue()
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
        view = self._board.find(id)
        if view is not None and view.owner != caller.owner:
            raise _no_request()
        return view

    def get(self, caller: Caller, id: str) -> RequestView:
        """A request; raises NotFound where there is none, or it is another's."""
        found = self.glimpse(caller, id)
        if found is not None:
            return found
        view = self._requests.get(id) if _is_id(id) else None
        if view is None or view.owner != caller.owner:
            raise _no_request()
        if view.status.is_final:
            self._board.keep_ended(view)
        return self._board.dressed(view)

    def page(
        self,
        caller: Caller,
        *,
        limit: int,
        statuses: frozenset[Status] = frozenset(),
        labels: Mapping[str, str] | None = None,
        before: int | None = None,
        outputs: bool = False,
        mark: str = "",
    ) -> tuple[list[RequestView], int | None]:
        """Requests of the caller, the newest first, and where the next page begins, if any does."""
        wanted = Filter(
            owner=caller.owner, statuses=statuses, labels=labels or {}, before=before, mark=mark
        )
        found = self._requests.page(wanted, limit + 1, outputs=outputs)
        more = found[limit - 1].order if len(found) > limit else None
        return [self._board.dressed(view) for view in found[:limit]], more

    def live(self, caller: Caller) -> list[RequestView]:
        """What the caller has that has not ended, in the order in which it will; from memory."""
        mine = [view for view in self._board.live() if view.owner == caller.owner]
        mine.sort(key=lambda view: (view.started_at is None, -view.priority, view.order))
        return mine

    def seconds_left(self, view: RequestView) -> float | None:
        """About how many s until a request is done; None where that cannot be said."""
        usual = self._times.usual(view)
        if usual is None:
            return None
        now, running = self._clock(), []
        for other in self._board.live() if view.queue_position is not None else ():
            if other.started_at is not None and (its := self._times.usual(other)) is not None:
                running.append(max(0.0, its - (now - other.started_at)))
        rooms = sum(one.is_open for one, _, _ in self.servers())
        return seconds_left(view, usual, rooms, now, running)

    def batches(self, caller: Caller, limit: int = 100) -> list[BatchView]:
        """The manifests of the caller, the newest first."""
        return self._requests.batches(caller.owner, BATCH, limit)

    def mark(self, caller: Caller, asset: str, verdict: Verdict | None) -> Asset:
        """Mark a picture that a request of the caller's made; raises NotFound for any other."""
        found = self.asset(caller, asset)
        if found.job_id is None:
            raise NotFound("this file was not made by a job")
        self.marks.set(caller.owner, asset, found.job_id, verdict)
        return found

    def watchable(self, caller: Caller, id: str) -> RequestView:
        """A request that is about to be watched; raises NotFound. Call it before `watch`."""
        view = self.get(caller, id)
        if not self.hub.knows(id):
            outputs = [(OUTPUT, output.to_json()) for output in view.outputs]
            # Where it has come to its end meanwhile, the hub knows it, and seeds nothing.
            final = view.status.is_final
            self.hub.seed(id, [*outputs, (STATUS, self._board.status(view))], final=final)
        return view

    def watch(self, id: str, after: int | None = None) -> Watcher:
        """What happens to a request, from now on, or behind event `after`."""
        return self.hub.watch(id, after)

    def owns(self, caller: Caller, id: str) -> bool:
        """Whether a request that memory has is the caller's."""
        view = self._board.find(id)
        return view is not None and view.owner == caller.owner

    def workflow(self, caller: Caller, id: str) -> Graph:
        """The graph of a request, as it was posted."""
        self.get(caller, id)
        return self.supplies.graph(id)

    def cancel(self, caller: Caller, id: str) -> RequestView:
        """Take a request back; one that has ended stays as it is."""
        view = self.get(caller, id)
        if view.status.is_final:
            return view
        self._loop.cancel(id)
        self._board.mark_cancelling(id)
        return self.get(caller, id)

    def cancel_all(self, caller: Caller, *, waiting_only: bool = False) -> int:
        """Take back all that the caller has, or all that waits; returns how many."""
        mine = [view for view in self._board.live() if view.owner == caller.owner]
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

    async def admit_session(self, token: str, *, counted: bool = False) -> Caller:
        """Who has signed in; raises AccessDenied. With `counted` it counts for the key's rate."""
        return await asyncio.to_thread(self._of_session, token, counted)

    def _of_session(self, token: str, counted: bool) -> Caller:
        if not self.keys.any():
            return _ANYBODY
        id = self.sessions.key_of(token) if token else None
        if id is None:
            raise AccessDenied("sign in with a key")
        key = self.keys.of(id)
        if counted:
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
        """A request once it has come to its end, or as it is after `seconds`.

        As it is, too, where the service ends before.
        """
        late = time.monotonic() + seconds
        view = await asyncio.to_thread(self.watchable, caller, id)
        if not view.status.is_final:
            with self.watch(id) as watcher:
                while not watcher.ended and (left := late - time.monotonic()) > 0:
                    await watcher.next(left)
                    if self.hub.is_closed:
                        break
        return await asyncio.to_thread(self.get, caller, id)

    # ------------------------------------------------------------------- files

    def receiving(self) -> AbstractContextManager[PendingContent]:
        """A part to write an upload on, for `upload`; what is not taken is dropped."""
        return self.assets.receive()

    def upload(
        self,
        caller: Caller,
        file: PendingContent | bytes,
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
        views = {view.name: (view, known.get(view.name)) for view in self._loop.servers()}
        for one in self.relay.remotes():
            views.setdefault(one.view.name, (one.view, one.known))
        found = []
        for view, told in views.values():
            if told is None:
                words = view.words or "it has not answered yet"
                view = replace(view, is_open=False, words=words)
            found.append((view, told, self._board.runs.on(view.name)))
        return found

    def workers(self) -> list[tuple[Worker, list[WorkerServer]]]:
        """The workers that gave a sign within a day, and their servers."""
        return self.relay.workers()

    def latest_on(self, caller: Caller, server: str) -> tuple[str, str]:
        """The model of the latest request that a server ended, and why the caller's last failed."""
        notes, error = self._requests.latest_on(server, caller.owner)
        model = notes.get("parameters", {}).get("model")
        return model if isinstance(model, str) else "", error

    def ask_memory(self) -> None:
        """Ask the servers that are open how much memory they have left, if that is long ago."""
        self.admission.ask_memory([view.name for view, _, _ in self.servers() if view.is_open])

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
        catalogue = self.admission.catalogue()
        return [self.workflows.view(name, catalogue) for name in self.workflows.names()]

    def ready(self) -> Readiness:
        """Whether requests can be served now."""
        checks = {"loop": self._loop.trouble, "database": ""}
        try:
            self._requests.count("")
        except StoreError as error:
            checks["database"] = str(error)
        well = any(view.is_open for view, _, _ in self.servers())
        checks["servers"] = "" if well else self._trouble()
        return Readiness(is_ready=not any(checks.values()), checks=checks)

    def disks(self) -> dict[str, int]:
        """Bytes that are free where the "record" and the "files" lie, as far as that is here."""
        places = {"record": self._store.database.folder, "files": self.assets.storage.folder}
        return {
            name: shutil.disk_usage(folder).free
            for name, folder in places.items()
            if folder is not None
        }

    def figures(self) -> Figures:
        """What metrics are made from."""
        return self._requests.figures(self._clock())

    # ------------------------------------------------------------------- inside

    def _arrived(self, models: Collection[str]) -> None:
        self._loop.arrived()
        self._wakeups.call(models)

    def _fits(self, job: Job, server: str) -> bool:
        return self.catalogues.fits(job.key, lambda: plain(self.supplies.graph(job.key)), server)

    def _about_to_send(self, key: str, server: str, graph: Graph) -> None:
        self._board.runs.sent(key, graph, server)

    def _forgotten(self, id: str) -> None:
        self.supplies.forget(id)
        self.catalogues.forget(id)

    def _trouble(self) -> str:
        told = "; ".join(f"{view.name}: {view.words}" for view, _, _ in self.servers())
        return told or "no worker is at work"

    def _tidy(self) -> None:
        # A bucket takes its time to be listed, and nobody waits for that.
        self._try_to_tidy(self.assets.tidy)
        while not self._stopping.wait(_TIDYING):
            self._try_to_tidy(self.tidy)

    def _try_to_tidy(self, tidy: Callable[[], int]) -> None:
        try:
            tidy()
        except SpriteworksError as error:
            logger.warning("tidying up: %s", error)

    def tidy(self) -> int:
        """Forget requests and files whose time is over; returns how many requests."""
        now = self._clock()
        expired = self._requests.expired(now)
        for id in expired:
            self.assets.delete_of_job(id)
        self._requests.remove(expired)
        self._board.forget_ended(expired)
        self._requests.forget_keys(now)
        self.assets.expire(now)
        self.keys.note_use()
        self.webhooks.forget_old()
        return len(expired)


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _no_request() -> NotFound:
    return NotFound("there is no job of that id")
