"""The command `spriteworks`, also as `python -m orchestrator`: signals, the command, its end.

Light on purpose: what a signal shall do is settled before anything else is loaded.
"""

from __future__ import annotations

import os
import sys

from .local.interrupts import SIGNALLED, Stopped, leave_at_once, unwind, was_stopped

_STOPPED = "stopped, and so is the job, if one was sent"


def main() -> int:
    """Run the command line of this process and return its exit code."""
    leave_at_once()
    try:
        # 0.3 s, in which there is nothing to put in order yet
        from . import cli  # noqa: F401
    except ModuleNotFoundError as error:
        from .extras import missing

        return _fail(str(missing("orchestrator", "the command", str(error.name))), 2)
    except Exception as error:  # noqa: BLE001  (the last place before the user)
        return _fail(f"Spriteworks is not installed as it should be ({error})", 1)
    try:
        unwind()
        code = run(sys.argv[1:])
    except Stopped as stopped:
        # It came when the command was over, and its last words were on their way.
        code = _fail(_STOPPED, SIGNALLED + stopped.number)
    leave_at_once()
    if was_stopped():
        # All is in order, while Python's own end would wait for threads, and dies of more signals.
        sys.stdout.flush()
        os._exit(code)
    return code


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; errors are one sentence on standard error."""
    import io

    from . import cli
    from .local.arguments import with_managed

    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli.FailureOptions.debug = False
    try:
        given = with_managed(arguments) or ["--help"]
        code = cli.app(args=given, standalone_mode=False, prog_name="spriteworks")
    except BaseException as error:  # noqa: BLE001  (the last place before the user)
        return _report(error, debug=cli.FailureOptions.debug)
    return code if isinstance(code, int) else 0


def _report(error: BaseException, *, debug: bool) -> int:
    """Say in one sentence what went wrong; return the exit code."""
    import traceback

    import typer

    from .errors import SpriteworksError

    if debug:
        traceback.print_exception(error)
    match error:
        case SpriteworksError():
            return _fail(str(error), error.exit_code)
        case Stopped(number=number):
            return _fail(_STOPPED, SIGNALLED + number)
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case OSError(filename=str() | bytes() as path):
            # A name that is too long, a folder that may not be read: nobody's fault but the path's.
            return _fail(f"{os.fsdecode(path)}: {error.strerror or error}", 1)
    # Newer typers carry a click of their own, so the class cannot be imported by one name.
    names = {cls.__name__: cls for cls in typer.BadParameter.__mro__}
    if isinstance(error, names["ClickException"]):
        return _fail(_misuse(error), 2)
    kind = type(error).__name__
    return _fail(f"this is a fault of Spriteworks ({kind}: {error}); --debug shows where", 1)


def _misuse(error: object) -> str:
    """The sentence of an error in the arguments, and where to read what is right."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "spriteworks"
    message = getattr(error, "format_message", lambda: str(error))()
    option = str(getattr(error, "option_name", "")).lstrip("-").replace("-", "_")
    if option:
        message = _as_setting(option, command) or message
    return f"{str(message).rstrip('.')}; see {command} --help"


def _as_setting(option: str, command: str) -> str:
    """Where something that was given as an option goes, which a workflow knows by that name."""
    from .workflow.roles import ROLES

    if option not in ROLES:
        return ""
    if command.endswith((" batch run", " batch plan")):
        field = "seeds: [VALUE]" if option == "seed" else f"defaults: {{{option}: VALUE}}"
        return (
            f"there is no option --{option}: write {field} into the manifest; `spriteworks run` "
            f"makes one picture and takes --set {option}=VALUE"
        )
    return f"there is no option --{option}: write --set {option}=VALUE"


def _fail(sentence: str, code: int) -> int:
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
