"""Models that tell a sprite from any background, by rembg, which is an extra."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, UsageError
from ..extras import install_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Masks = Callable[["NDArray[np.uint8]"], "NDArray[np.uint8]"]


def background_model(name: str) -> Masks:
    """What gives the alpha of a uint8 [H, W, 3 or 4] picture by rembg's model: uint8 [H, W].

    The picture's own transparency is left out; ModelError is raised where the model fails. Nothing
    is downloaded, and no picture leaves the machine. Raises UsageError where rembg is missing or
    has no such model, and ModelError where the model's file is not there, or is broken.
    """
    try:
        import rembg
        from rembg.sessions import sessions
    except ImportError as error:
        raise UsageError(
            f"--model {name} needs rembg, which is an extra for Python 3.11 and up: "
            + install_line("rembg")
        ) from error
    known = {one: kind for one, kind in sessions.items() if kind.is_local()}
    if name not in known:
        raise UsageError(f"rembg has no model {name!r} for this machine; it has {', '.join(known)}")
    # rembg itself would download it now, hundreds of megabytes, without being asked.
    if known[name].resolve_existing(f"{name}.onnx") is None:
        raise ModelError(
            f"rembg's model {name} is not on this machine; rembg downloads it from GitHub by: "
            f"python -c \"import rembg.bg; rembg.bg.download_models(('{name}',))\""
        )
    # onnxruntime's errors have no base of their own.
    try:
        session = rembg.new_session(name)
    except Exception as error:
        raise ModelError(f"rembg's model {name} cannot be loaded: {error}") from error
    return _masks_of(rembg.remove, session, name)


def _masks_of(remove: Callable[..., Any], session: object, name: str) -> Masks:
    import numpy as np

    def alpha(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        colours = np.ascontiguousarray(picture[..., :3])
        try:
            mask = np.asarray(remove(colours, session=session, only_mask=True), dtype=np.uint8)
        except Exception as error:
            raise ModelError(f"rembg's model {name} failed: {error}") from error
        if mask.shape != picture.shape[:2]:
            raise ModelError(
                f"rembg's model {name} gave a mask of {list(mask.shape)} for a picture of "
                f"{list(picture.shape[:2])}: it is not one for cutting out"
            )
        return mask

    return alpha
