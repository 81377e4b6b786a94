"""`spriteworks keys ...`: arguments and wiring only."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .keys import Key, Keys
    from .webhooks import Webhooks

app = typer.Typer(
    name="keys",
    help="Make, list and revoke the API keys of a service, also while it runs.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

_Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The service's folder; else SPRITEWORKS_DATA."),
]
_Store = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="The database, where the service is new and it is elsewhere; else "
        "SPRITEWORKS_DATABASE.",
    ),
]
_Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, alone, on standard output.")
]


@app.command(
    epilog='Example: spriteworks keys create "build farm" --queue 500 --width 1024 --expires 90'
)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for, in words.")],
    queue: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Jobs that may wait at one time.")
    ] = None,
    rate: Annotated[int | None, typer.Option(metavar="N", min=1, help="Requests a minute.")] = None,
    width: Annotated[
        int | None, typer.Option(metavar="PX", min=1, help="Width of a picture.")
    ] = None,
    height: Annotated[
        int | None, typer.Option(metavar="PX", min=1, help="Height of a picture.")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Steps of a job.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pictures of a job.")
    ] = None,
    expires: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, help="Days for which it counts; else until revoked."),
    ] = None,
    data: _Data = None,
    store: _Store = "",
    as_json: _Json = False,
) -> None:
    """Make a key and print it, this one time; only its hash is kept.

    What is not limited by an option has no limit.
    """
    from .limits import Limits

    limits = Limits(
        queue=queue, rate=rate, width=width, height=height, steps=steps, batch_size=batch_size
    )
    until = None if expires is None else time.time() + expires * 86_400
    with _opened(data, store, create=True) as (keys, webhooks):
        key, secret = keys.create(name, limits, expires_at=until)
        signing = webhooks.secret(key.id)
    if as_json:
        told = {"key": secret, "webhook_secret": signing, **key.to_json()}
        print(json.dumps(told, indent=2))
        return
    print(f"key {key.id} for {key.name}, shown this once:", file=sys.stderr)
    print(secret)
    print(f"its webhooks are signed with {signing}", file=sys.stderr)


@app.command("list", epilog="Example: spriteworks keys list --json")
def list_keys(data: _Data = None, store: _Store = "", as_json: _Json = False) -> None:
    """List all keys there ever were, without their secrets."""
    with _opened(data, store, create=False) as (keys, _):
        found = keys.list()
    if as_json:
        print(json.dumps({"keys": [key.to_json() for key in found]}, indent=2))
    else:
        print(_table(found, time.time()))


@app.command(epilog="Example: spriteworks keys revoke 5f0c2a9b7d31")
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it, or the whole key.")],
    data: _Data = None,
    store: _Store = "",
    as_json: _Json = False,
) -> None:
    """Let a key open nothing any more, in a second at most; its jobs and files stay."""
    from .keys import id_in

    with _opened(data, store, create=False) as (keys, webhooks):
        revoked = keys.revoke(id_in(key))
        webhooks.drop_owner(revoked.id)
    if as_json:
        print(json.dumps(revoked.to_json(), indent=2))
    else:
        print(f"{revoked.id} ({revoked.name}) opens nothing any more", file=sys.stderr)


@contextmanager
def _opened(data: Path | None, store: str, *, create: bool) -> Iterator[tuple[Keys, Webhooks]]:
    from .home import DATABASE, home_of, named_by, record_in
    from .keys import Keys
    from .webhooks import Webhooks

    # a folder that was named knows its own
    url = store or ("" if data else named_by(DATABASE))
    with record_in(home_of(data), url, create=create) as record:
        yield Keys(record.database), Webhooks(record.database)


def _table(keys: list[Key], now: float) -> str:
    lines = [("ID", "NAME", "STATE", "CREATED", "EXPIRES", "USED", "LIMITS")]
    lines += [
        (
            key.id,
            key.name,
            "counts" if key.counts(now) else "revoked" if key.revoked_at else "expired",
            _day(key.created_at),
            _day(key.expires_at),
            _day(key.used_at),
            ", ".join(f"{name} {most}" for name, most in key.limits.to_json().items()) or "-",
        )
        for key in keys
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def _day(moment: float | None) -> str:
    return "-" if moment is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
