"""`--comfyui` without a folder, which means the managed ComfyUI."""

from __future__ import annotations

from collections.abc import Sequence

# What stands for it once the arguments are read: no folder of that name can be made on Windows, and
# nobody makes one elsewhere.
MANAGED = ":managed:"
_OPTION = "--comfyui"


def with_managed(arguments: Sequence[str]) -> list[str]:
    """The arguments, each bare `--comfyui` given its value; typer knows no optional ones.

    It is bare as the last argument, or before one that begins with "-". What stands behind "--" is
    for another program and stays.
    """
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    found = list(arguments)
    for place, one in enumerate(arguments[:end]):
        following = arguments[place + 1 : place + 2]
        if one == _OPTION and (not following or following[0].startswith("-")):
            found[place] = f"{_OPTION}={MANAGED}"
    return found
