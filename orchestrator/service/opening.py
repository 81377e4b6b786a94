"""A service's folder: its record, its files, and the service over them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..batch.execution.fleet import Care
from ..batch.execution.store.folder_lock import held
from ..batch.execution.store.place import place_of
from ..errors import SpriteworksError
from ..local.serving import Choice
from .assets import Assets
from .events import EventHub
from .home import check_database, make_home, record_in
from .intake import Settings
from .keys import Keys
from .prompting import Workflows
from .service import Service
from .storage import Storage
from .waking.opening import check_broker
from .waking.reconciler import awake
from .webhooks import Webhooks


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Where a service keeps what it has, and which servers it uses."""

    folder: Path
    choice: Choice
    # URL of the database; "" is a file in the folder, or what the folder names
    store: str = ""
    # URL of the storage, "s3://bucket/prefix"; "" is in the folder
    storage: str = ""
    # URL of a Redis through which workers are woken; "" is without
    broker: str = ""
    workflow: str = "sprite"
    model: str = ""
    workflows: Path | None = None
    # networks inside to which webhooks may be sent all the same, as 10.0.0.0/8
    allow: tuple[str, ...] = ()
    care: Care = field(default_factory=Care)
    settings: Settings = field(default_factory=Settings)


@contextmanager
def opened(setup: Setup) -> Iterator[Service]:
    """The service of a folder, not started yet; raises BatchBusy where another one has the folder.

    Whoever leaves the block has stopped it before.
    """
    # Mistakes are told before anything is written.
    check_broker(setup.broker)
    workflows = Workflows(default=setup.workflow, model=setup.model, folder=setup.workflows)
    check_database(setup.folder, setup.store)
    storage = _home(setup)
    with ExitStack() as stack:
        stack.enter_context(held(setup.folder))
        store = stack.enter_context(record_in(setup.folder, setup.store))
        url = place_of(setup.folder, setup.store).url
        wakeups = stack.enter_context(awake(store.database, url, setup.broker, "spriteworks-serve"))
        yield Service(
            store,
            setup.choice,
            assets=Assets(store.database, storage),
            keys=Keys(store.database),
            hub=EventHub(),
            webhooks=Webhooks(store.database, allow=setup.allow),
            workflows=workflows,
            care=setup.care,
            settings=setup.settings,
            wakeups=wakeups,
        )


def _home(setup: Setup) -> Storage:
    """Make the folder and the place for files; a new folder goes again where that cannot be."""
    is_new = make_home(setup.folder)
    try:
        return Storage(setup.storage or setup.folder / "files")
    except SpriteworksError:
        if is_new:
            # One that has something in it by now is somebody's, and stays.
            with suppress(OSError):
                setup.folder.rmdir()
        raise
