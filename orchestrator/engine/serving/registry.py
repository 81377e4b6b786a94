"""All node classes of the engine: ComfyUI's core nodes and those of the pack.

Loading them imports torch and diffusers, which takes seconds; it happens in the background while
the server already answers. Where it fails, every request for nodes is refused and the process ends.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterable

from comfy_nodes import folders as pack_folders

from ...errors import ServerStartFailed
from .. import host
from ..execution.validation import Nodes
from ..host import ComfyNode
from ..host.pack_folders import PackFolders

logger = logging.getLogger(__name__)


def engine_nodes() -> list[type[ComfyNode]]:
    """Import and list the nodes of the engine and of the pack."""
    host.install()
    pack_folders.use(PackFolders())
    nodes = importlib.import_module("orchestrator.engine.nodes")
    found: list[type[ComfyNode]] = nodes.all_nodes()
    return found


def import_libraries() -> None:
    """Import what the loaders need, about 3 s of work, while the client still makes up its job."""
    importlib.import_module("diffusers").UNet2DConditionModel  # noqa: B018 - imported by asking
    importlib.import_module("diffusers").AutoencoderKL  # noqa: B018
    importlib.import_module("transformers").CLIPTextModel  # noqa: B018


class NodeRegistry:
    """Node classes by name, loaded once."""

    def __init__(
        self,
        load: Callable[[], Iterable[type[ComfyNode]]] = engine_nodes,
        afterwards: Callable[[], None] = lambda: None,
    ) -> None:
        """`afterwards` runs in the same thread once the nodes are there; only jobs wait for it."""
        self._load = load
        self._afterwards = afterwards
        self._ready = threading.Event()
        self._nodes: Nodes = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._fill, name="nodes", daemon=True)

    def start(self) -> None:
        """Begin to load in the background."""
        self._thread.start()

    def nodes(self) -> Nodes:
        """The classes, waiting until they are loaded; raises ServerStartFailed."""
        self._ready.wait()
        self.check()
        return self._nodes

    @property
    def failed(self) -> bool:
        """Whether something could not be imported; then no job can ever run."""
        return self._error is not None

    def check(self) -> None:
        """Raises ServerStartFailed where something could not be imported; never waits."""
        if self._error is not None:
            # Libraries that import lazily put whole traces into their messages.
            reason = " ".join(f"{type(self._error).__name__}: {self._error}".split())
            raise ServerStartFailed(
                f"the engine's nodes cannot be loaded: {reason}. Repair the installation; "
                "python -m orchestrator.engine --log-level debug shows where it happened"
            ) from self._error

    def settled(self) -> Nodes:
        """The classes, once nothing is imported any more; for the thread that runs jobs.

        Two threads in the import of diffusers at one time would see it half made.
        """
        self._thread.join()
        return self.nodes()

    def _fill(self) -> None:
        try:
            self._nodes = by_name(self._load())
            self._ready.set()
            self._afterwards()
        except Exception as error:
            logger.debug("the engine's nodes cannot be loaded", exc_info=True)
            self._error = error
        finally:
            self._ready.set()


def by_name(classes: Iterable[type[ComfyNode]]) -> Nodes:
    """Node classes under the names that graphs use; raises ValueError for a name used twice."""
    found: dict[str, type[ComfyNode]] = {}
    for cls in classes:
        name = cls.GET_SCHEMA().node_id
        if name in found:
            raise ValueError(f"two node classes are called {name!r}")
        found[name] = cls
    return found
