"""What a running node can ask of its host: progress, interruption, folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..folders import Folders
from ..stopping import asking

if TYPE_CHECKING:
    from PIL import Image

# A preview costs time to make: pass a function, and it is made only where somebody looks.
Preview: TypeAlias = "Image.Image | Callable[[], Image.Image] | None"
PreviewFormat: TypeAlias = Literal["jpeg", "png"]


class Context:
    """The host as one node sees it. This base is the quiet one of code outside a run."""

    @property
    def folders(self) -> Folders:
        """The server's folders; raises RuntimeError before the server has any."""
        if _folders is None:
            raise RuntimeError("the engine has no folders yet: call use_folders first")
        return _folders

    def progress(
        self,
        value: float,
        max: float,
        preview: Preview = None,
        format: PreviewFormat = "jpeg",
    ) -> None:
        """Tell clients that `value` of `max` is done; raises InterruptedByUser if asked to stop.

        A "jpeg" preview is made small; a "png" one is sent as it is (SaveImageWebsocket).
        """
        self.check_interrupted()

    def check_interrupted(self) -> None:
        """Raise InterruptedByUser if somebody asked to stop; call it at least once a second."""


_folders: Folders | None = None
_current: ContextVar[Context | None] = ContextVar("running node", default=None)


def context() -> Context:
    """The host of the node that runs in this thread, or a quiet one outside a run."""
    return _current.get() or Context()


def use_folders(folders: Folders) -> None:
    """Set the folders that all nodes of this process see."""
    global _folders
    _folders = folders


@contextmanager
def activate(current: Context) -> Iterator[None]:
    """Make `current` what `context()` answers in this thread."""
    token = _current.set(current)
    try:
        with asking(current.check_interrupted):
            yield
    finally:
        _current.reset(token)
