"""What can go wrong inside a node. The host shows the message to the user as it is.

PackError
    ModelNotFound       FileNotFoundError too: no model of that name; names those there are
    ModelUnreadable     ValueError too: a file is cut short, damaged or missing in its folder
    UnsupportedModel    ValueError too: the model is whole, but of a kind that is not loaded
    UnsupportedSetting  ValueError too: the device cannot do what was asked for strictly
    UnsupportedHost     RuntimeError too: this ComfyUI lacks something that is needed
    BadInput            ValueError too: a picture, mask or palette that cannot be used
    OutOfMemory         MemoryError too: a step needs more memory than there is
    SaveFailed          OSError too: a picture could not be written
    HubError            the model hub could not give a model
        HubUnreachable  ConnectionError too: it does not answer, or we are told to stay offline
        HubRefused      it answers, and has no such model for this user
        HubDamaged      ValueError too: what came is not what the hub says that it is
    DiskFull            OSError too: a model does not fit
"""

from __future__ import annotations

import difflib

# ComfyUI names a pack's modules by the path of its folder, and shows people the full name of an
# error's class.
_BY_PATH = not all(part.isidentifier() for part in __name__.split("."))


class PackError(Exception):
    """Base of everything the node pack raises on purpose."""

    def __init_subclass__(cls) -> None:
        if _BY_PATH:
            cls.__module__ = "spriteworks"


class ModelNotFound(PackError, FileNotFoundError):
    """No model has that name."""

    @classmethod
    def of(cls, kind: str, name: str, known: list[str]) -> ModelNotFound:
        """The error for `name`, a model of `kind` ("checkpoint", ...), naming those in `known`."""
        there = ", ".join(known) if known else "none"
        folded = {one.casefold(): one for one in known}
        close = difflib.get_close_matches(name[:200].casefold(), folded, n=1)
        meant = f" Did you mean {folded[close[0]]!r}?" if close else ""
        return cls(f"There is no {kind} named {name[:200]!r}.{meant} Those there are: {there}.")


class ModelUnreadable(PackError, ValueError):
    """A model's file is damaged, cut short or missing."""


class UnsupportedModel(PackError, ValueError):
    """The model is of a kind that this pack does not load."""


class UnsupportedSetting(PackError, ValueError):
    """The device cannot do what a setting asks, and the next best was not wanted."""


class UnsupportedHost(PackError, RuntimeError):
    """This version of ComfyUI lacks a name that the pack needs."""


class BadInput(PackError, ValueError):
    """An input's value cannot be used."""


class OutOfMemory(PackError, MemoryError):
    """A step needs more memory than there is, and was told not to do with less."""


class SaveFailed(PackError, OSError):
    """A picture could not be written to the output folder."""


class HubError(PackError):
    """The model hub could not give a model."""


class HubUnreachable(HubError, ConnectionError):
    """The hub does not answer, or we are told to stay offline."""


class HubRefused(HubError):
    """The hub answers, and has no such model for this user."""


class HubDamaged(HubError, ValueError):
    """What came from the hub is not what the hub says that it is."""


class DiskFull(PackError, OSError):
    """A model does not fit on the disk."""
