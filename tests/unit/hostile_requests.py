"""Requests that nobody should send, made by hypothesis, for the engine and for the service."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"
GRAPHS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in WORKFLOWS.glob("*")}

LONG = 300
# Written as JSON by hand, since no value in Python stands for all of them.
RAW = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    "9" * 5000,
    "1" + "0" * 400,
    '"\\ud800"',
    '"\\u0000"',
    '"\\udfff\\ud800"',
    "[" * 300 + "]" * 300,
    "[" * 100_000,
    '{"a":' * 300 + "1" + "}" * 300,
    '{"a":1,"a":2}',
    "01",
    "'a'",
    "",
]
TEXTS = [
    "",
    " ",
    "a" * LONG,
    "ü" * LONG,
    "../../a",
    "/etc/passwd",
    "..",
    ".",
    "a\\b",
    "a\nb",
    "%s%n{}",
    "(" * 500 + "a" + ")" * 500,
    "embedding:a" + "b" * LONG,
    "nan",
    "1e400",
    "\U0001f409",
    "con",
    "[output]",
    "a [temp]",
    "\x7f\x1b[2J",
]
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 2**64 - 1, 10**30])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(TEXTS)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
_HOLE = "a hole for raw JSON"


@st.composite
def graphs(draw: Callable[[Any], Any]) -> Any:
    """A shipped workflow with a few of its places spoilt; small, so that a run of it is short."""
    graph = copy.deepcopy(GRAPHS[draw(st.sampled_from(sorted(GRAPHS)))])
    for _ in range(draw(st.integers(0, 4))):
        if not graph:
            break
        node_id = draw(st.sampled_from(sorted(graph)))
        node = graph[node_id]
        what = draw(st.sampled_from(("input", "input", "input", "link", "node", "class", "drop")))
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if what == "drop":
            del graph[node_id]
        elif what == "node":
            graph[node_id] = draw(ODD)
        elif what == "class" and isinstance(node, dict):
            node["class_type"] = draw(ODD | st.sampled_from(["SaveImage", "KSampler", "LoadImage"]))
        elif isinstance(inputs, dict) and inputs:
            name = draw(st.sampled_from(sorted(inputs)))
            link = st.tuples(st.sampled_from(sorted(graph)), st.integers(-1, 4)).map(list)
            value = link if what == "link" else ODD | st.just(_HOLE)
            inputs[name] = draw(value)
    return graph


@st.composite
def filled(draw: Callable[[Any], Any], values: Any) -> bytes:
    """Values as JSON; holes in them, and now and then anything else, are JSON that is none."""
    value = draw(values)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    while f'"{_HOLE}"' in text:
        text = text.replace(f'"{_HOLE}"', draw(st.sampled_from(RAW)), 1)
    content = text.encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 19)):
        case 0:
            return content[: draw(st.integers(0, len(content)))]
        case 1:
            return text.encode("utf-16")
        case 2:
            return b"\xef\xbb\xbf" + content
        case 3:
            return content + b"\xff\xfe"
        case 4:
            return draw(st.binary(max_size=50))
        case 5:
            return draw(st.sampled_from(RAW)).encode()
    return content


def prompts() -> Any:
    """Bodies of `POST /prompt`."""
    rest = {
        "client_id": ODD,
        "extra_data": ODD | st.fixed_dictionaries({"extra_pnginfo": ODD}),
        "number": ODD | st.just(_HOLE),
        "front": ODD,
        "prompt_id": ODD,
        "partial_execution_targets": ODD | st.lists(st.sampled_from(["1", "9", "save"])),
    }
    return st.fixed_dictionaries({"prompt": graphs() | ODD}, optional=rest)


def changes() -> Any:
    """Bodies of the small routes."""
    names = ("clear", "delete", "prompt_id", "job_ids", "unload_models", "free_memory")
    return ODD | st.fixed_dictionaries({}, optional={name: ODD for name in names})


@dataclass(frozen=True)
class Hostile:
    """One request."""

    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Host": st.sampled_from(["localhost", "LOCALHOST.", "evil.example", "[::1]", "[", "a@b"]),
        "Origin": st.sampled_from(
            ["null", "http://evil.example", "http://[", "x", "http://a:99999"]
        ),
        "Content-Type": st.sampled_from(
            [
                "application/json",
                "application/json; charset=utf-16",
                "multipart/form-data",
                "multipart/form-data; boundary=x",
                "application/x-www-form-urlencoded",
                "\xff",
            ]
        ),
        "Content-Length": st.sampled_from(["-1", "abc", "0", "9" * 30]),
        "Range": st.sampled_from(["bytes=0-", "bytes=9-1", "x", "bytes=-0", "bytes=0-,0-,0-"]),
        "Accept": st.sampled_from(["*/*", "", "\x00"[:0], "text/html"]),
        "Sec-Fetch-Dest": st.sampled_from(["image", "\xff", ""]),
    },
)
FEW_HEADERS = st.just({}) | HEADERS


def _query(names: tuple[str, ...]) -> Any:
    number = st.integers().map(str) | st.sampled_from(["9" * 5000, "NaN", "1e9", "-0", "²"])
    text = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    values = (number | text).map(lambda value: quote(value, safe=""))
    raw = st.sampled_from(["%00", "%ff", "%ED%A0%80", "%", "%zz", "a%2F..%2Fb", "input", "output"])
    one = st.tuples(st.sampled_from(names), values | raw).map("=".join)
    return st.lists(one, max_size=4).map("&".join)


_PLACES = st.sampled_from(TEXTS).map(lambda text: quote(text, safe="")) | st.sampled_from(
    ["%00", "%ff", "%ED%A0%80", "..%2f..", "checkpoints", "loras", "diffusers", "KSampler"]
)


def _form(name: str, filename: str, content: bytes, fields: dict[str, str]) -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    parts = [head.encode("utf-8", "replace") + content + b"\r\n"]
    for key, value in fields.items():
        text = f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        parts.append(text.encode("utf-8", "replace"))
    return b"".join(parts) + b"--x--\r\n"


def _uploads(picture: bytes) -> Any:
    names = st.sampled_from([*TEXTS, "a.png", "b/c.png", "a.html"])
    references = st.sampled_from(
        ['{"filename":"a.png"}', "{", "[" * 5000, '{"filename":5}', '{"filename":"a\\u0000"}']
    ) | ODD.map(json.dumps)
    fields = st.fixed_dictionaries(
        {},
        optional={
            "type": names | st.sampled_from(["input", "temp", "output"]),
            "subfolder": names,
            "overwrite": names,
            "original_ref": references,
        },
    )
    content = st.sampled_from([picture, picture[:40], b"", b"GIF89a", b"no picture"])
    form = st.builds(_form, st.sampled_from(["image", "image", "file", ""]), names, content, fields)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    target = st.sampled_from(["/upload/image", "/upload/mask", "/api/upload/image"])
    return st.builds(Hostile, st.just("POST"), target, form, st.just(headers))


def to_the_engine(picture: bytes) -> Any:
    """Requests to each of the engine's routes; `picture` is a PNG to upload."""
    prefix = st.sampled_from(["", "/api"])

    def at(path: str, *names: str) -> Any:
        return st.tuples(prefix, st.just(path), _query(names)).map(
            lambda parts: f"{parts[0]}{parts[1]}?{parts[2]}"
        )

    reads = (
        at("/history", "max_items", "offset", "x")
        | at("/view", "filename", "type", "subfolder", "preview", "channel")
        | at("/jobs", "status", "limit", "offset", "sort_by", "sort_order", "workflow_id")
        | st.tuples(
            prefix,
            st.sampled_from(["/history/", "/models/", "/object_info/", "/jobs/", "/"]),
            _PLACES,
        ).map("".join)
        | st.sampled_from(["/queue", "/prompt", "/ws", "/features", "/embeddings", "/models", "*"])
    )
    methods = st.sampled_from(["GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
    small = st.sampled_from(
        ["/queue", "/history", "/interrupt", "/free", "/api/jobs/cancel", "/api/jobs/x/cancel"]
    )
    post = st.just("POST")
    return (
        st.builds(Hostile, post, st.just("/prompt"), filled(prompts()), FEW_HEADERS)
        | st.builds(Hostile, post, st.just("/prompt"), filled(prompts()))
        | st.builds(Hostile, post, small, filled(changes()), FEW_HEADERS)
        | st.builds(Hostile, methods, reads, st.just(b""), FEW_HEADERS)
        | _uploads(picture)
    )


def to_the_service() -> Any:
    """Requests that submit jobs to the service, on both of its faces."""
    prompt = st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("prompt", "workflow", "parameters", "webhook", "tags", "seed"), ODD),
            "graph": graphs() | ODD,
        },
    )
    v2 = st.fixed_dictionaries(
        {"workflow": graphs() | ODD}, optional=dict.fromkeys(("extra_data", "webhook", "tags"), ODD)
    )
    post = st.just("POST")
    return st.builds(Hostile, post, st.just("/v1/jobs"), filled(prompt), FEW_HEADERS) | st.builds(
        Hostile, post, st.just("/api/v2/jobs"), filled(v2), FEW_HEADERS
    )
