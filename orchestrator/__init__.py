"""Submits workflows to ComfyUI servers, or to the embedded engine, and collects what they make.

    import orchestrator as spriteworks

    with spriteworks.start_engine() as server:
        made = server.run("sprite", prompt="a red potion", seed=7)
    made.pictures[0].save("potion.png")

What `dir` shows is the public API; docs/python.md tells it by examples. It is imported when it is
first used, so that the command can answer Ctrl-C from its first line on.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .client.timings import NodeTiming as NodeTiming
    from .client.timings import Timings as Timings
    from .errors import AccessDenied as AccessDenied
    from .errors import BadValue as BadValue
    from .errors import BatchBusy as BatchBusy
    from .errors import CanvasError as CanvasError
    from .errors import GraphError as GraphError
    from .errors import HashMismatch as HashMismatch
    from .errors import IllegalTransition as IllegalTransition
    from .errors import InputError as InputError
    from .errors import InstallFailed as InstallFailed
    from .errors import JobError as JobError
    from .errors import JobInterrupted as JobInterrupted
    from .errors import JobLost as JobLost
    from .errors import JobRefused as JobRefused
    from .errors import JobTimedOut as JobTimedOut
    from .errors import LeaseLost as LeaseLost
    from .errors import LimitReached as LimitReached
    from .errors import ManifestError as ManifestError
    from .errors import ManifestProblem as ManifestProblem
    from .errors import ModelError as ModelError
    from .errors import NodeFailed as NodeFailed
    from .errors import NodeProblem as NodeProblem
    from .errors import NotFound as NotFound
    from .errors import OtherVersion as OtherVersion
    from .errors import OutputError as OutputError
    from .errors import ProtocolError as ProtocolError
    from .errors import RangeUnsatisfiable as RangeUnsatisfiable
    from .errors import RecordLost as RecordLost
    from .errors import RequestError as RequestError
    from .errors import RequestRefused as RequestRefused
    from .errors import ResultMissing as ResultMissing
    from .errors import ResultWrong as ResultWrong
    from .errors import ServerError as ServerError
    from .errors import ServerFailed as ServerFailed
    from .errors import ServerFrozen as ServerFrozen
    from .errors import ServerLost as ServerLost
    from .errors import ServerStartFailed as ServerStartFailed
    from .errors import ServerUnreachable as ServerUnreachable
    from .errors import SpriteworksError as SpriteworksError
    from .errors import StoreError as StoreError
    from .errors import StoreUnreachable as StoreUnreachable
    from .errors import TooLarge as TooLarge
    from .errors import UnknownNodeClass as UnknownNodeClass
    from .errors import UnknownParameter as UnknownParameter
    from .errors import UsageError as UsageError
    from .errors import WorkerReplaced as WorkerReplaced
    from .library import BatchStatus as BatchStatus
    from .library import Job as Job
    from .library import Progress as Progress
    from .library import Server as Server
    from .library import batch_status as batch_status
    from .library import connect as connect
    from .library import convert as convert
    from .library import run_batch as run_batch
    from .library import start_comfyui as start_comfyui
    from .library import start_engine as start_engine
    from .memory import MemoryUse as MemoryUse
    from .memory import Phase as Phase
    from .memory import Use as Use
    from .protocol import JobState as JobState
    from .runs.converting import Converted as Converted
    from .runs.made import Made as Made
    from .runs.made import Picture as Picture
    from .runs.made import ServerInfo as ServerInfo
    from .runs.run import Observer as Observer
    from .runs.workflows import Workflow as Workflow
    from .runs.workflows import read_workflow as read_workflow
    from .sprites.animated import AnimatedFile as AnimatedFile
    from .sprites.cutting import CutFile as CutFile
    from .sprites.cutting import cut_out as cut_out
    from .sprites.frames import AlignedFile as AlignedFile
    from .sprites.frames import AlignedFrames as AlignedFrames
    from .sprites.frames import align_frames as align_frames
    from .sprites.inspecting import Inspected as Inspected
    from .sprites.inspecting import Inspection as Inspection
    from .sprites.inspecting import inspect as inspect
    from .sprites.mending import MendedFile as MendedFile
    from .sprites.mending import mend as mend
    from .sprites.palettes import PaintedFile as PaintedFile
    from .sprites.palettes import Palette as Palette
    from .sprites.palettes import RecolouredFile as RecolouredFile
    from .sprites.palettes import find_palette as find_palette
    from .sprites.palettes import read_palette as read_palette
    from .sprites.palettes import repaint as repaint
    from .sprites.palettes import swap_ramps as swap_ramps
    from .sprites.palettes import write_palette as write_palette
    from .sprites.sheets import MadeSheet as MadeSheet
    from .sprites.sheets import make_sheet as make_sheet
    from .sprites.snapping import SnappedFile as SnappedFile
    from .sprites.snapping import snap as snap
    from .sprites.tiles import TileFile as TileFile
    from .sprites.tiles import close_seams as close_seams
    from .workflow.document import Document as Document

# Where each name is defined; the lines above say the same to type checkers, and a test compares.
_HOMES = {
    "client.timings": "NodeTiming Timings",
    "errors": (
        "AccessDenied BadValue BatchBusy CanvasError GraphError HashMismatch IllegalTransition "
        "InputError InstallFailed JobError JobInterrupted JobLost JobRefused JobTimedOut "
        "LeaseLost LimitReached ManifestError ManifestProblem ModelError NodeFailed NodeProblem "
        "NotFound OtherVersion OutputError ProtocolError RangeUnsatisfiable RecordLost "
        "RequestError RequestRefused ResultMissing ResultWrong ServerError ServerFailed "
        "ServerFrozen ServerLost ServerStartFailed ServerUnreachable SpriteworksError "
        "StoreError StoreUnreachable TooLarge UnknownNodeClass UnknownParameter UsageError "
        "WorkerReplaced"
    ),
    "library": (
        "BatchStatus Job Progress Server batch_status connect convert run_batch start_comfyui "
        "start_engine"
    ),
    "memory": "MemoryUse Phase Use",
    "protocol": "JobState",
    "runs.converting": "Converted",
    "runs.made": "Made Picture ServerInfo",
    "runs.run": "Observer",
    "runs.workflows": "Workflow read_workflow",
    "sprites.animated": "AnimatedFile",
    "sprites.frames": "AlignedFile AlignedFrames align_frames",
    "sprites.inspecting": "Inspected Inspection inspect",
    "sprites.mending": "MendedFile mend",
    "sprites.palettes": (
        "PaintedFile Palette RecolouredFile find_palette read_palette repaint swap_ramps "
        "write_palette"
    ),
    "sprites.cutting": "CutFile cut_out",
    "sprites.sheets": "MadeSheet make_sheet",
    "sprites.snapping": "SnappedFile snap",
    "sprites.tiles": "TileFile close_seams",
    "workflow.document": "Document",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
