"""Writes docs/API.md from the service's OpenAPI: `python scripts/build_api_docs.py`.

A test holds the page to what this makes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "API.md"

_BEGINNING = """\
# HTTP API

`spriteworks serve` serves two faces of one service: `/v1`, which makes sprites from prompts, and
`/api/v2`, [Comfy API v2](https://docs.comfy.org), which runs any workflow and which Comfy's SDKs
speak. They see the same jobs and differ in nothing but form. This page is made from the service's
OpenAPI, which a running service gives at `/openapi.json`.

```
curl localhost:8190/v1/jobs -H 'content-type: application/json' \\
  -d '{"prompt": "a red potion, pixel art", "seed": 7}'
curl -N localhost:8190/v1/jobs/JOB_ID/stream
curl 'localhost:8190/v1/jobs?wait=30' -H 'content-type: application/json' -d '{"prompt": "a key"}'
```

A picture to change is uploaded first; its answer has the `id` that stands for it. White in the mask
is made anew. Small ones may be in the request itself, in base64.

```
curl localhost:8190/api/v2/assets -F file=@workflows/inputs/spriteworks_potion.png
curl localhost:8190/api/v2/assets -F file=@workflows/inputs/spriteworks_potion_mask.png
curl localhost:8190/v1/jobs -H 'content-type: application/json' \\
  -d '{"workflow": "inpaint", "prompt": "a green potion", "image": "ID", "mask": "ID"}'
```

Many pictures are a [manifest](batch.md), YAML in a text or the same in JSON:

```
curl localhost:8190/v1/jobs -H 'content-type: application/json' \\
  -d '{"manifest": {"name": "potions", "workflow": "sprite", "items": [{"id": "potion",
       "prompt": "a {colour} potion", "vars": {"colour": ["red", "blue"]}}]}}'
```

```python
# pip install comfy-sdk; COMFY_BASE_URL=http://127.0.0.1:8190
from comfy_sdk import Comfy

with Comfy() as client:
    job = client.run(client.workflows.from_file("workflows/api/sprite.json"))
    job.outputs[0].to_file("sprite.png")
```

**Keys.** As long as no key was made (`spriteworks keys create`), a service listens on this machine
only and asks for none. From the first key on, every request but `/health`, `/ready`, `/metrics` and
`/api/v2/health` needs one: `Authorization: Bearer KEY`, or `X-API-Key: KEY`. Jobs and files are
their key's: for any other they are not there (404).

**Errors** are `{"error": {"code", "message", "details"}}`. `code` is for programs. With 429 comes
`Retry-After`: the same request may be taken after so many seconds.

**Once.** With a header `Idempotency-Key` (1 to 255 printable ASCII characters) a `POST` of a job is
taken once in 24 hours for each key's owner. The same request again gets the same job, and the
header `Idempotency-Replayed: true`; another one under the same key is refused (422
`idempotency_key_reuse`), and so is one while the first is still being taken (409
`idempotency_conflict`). A request that was refused leaves its key free. Without a key two equal
requests are two jobs.

**Streams** are server-sent events with ids. The first events say how the job stands; whoever comes
back with `Last-Event-ID` gets what came since. A comment every 15 s says that the line stands. What
is dropped for a slow reader is progress and previews that newer ones have overtaken, never a status
or an output.

**States**: `queued`, `running`, `succeeded`, `canceling`, `canceled`, `failed`, `expired`.
`queue_position` counts from 1 in the order in which keys take turns; a server that has the model of
another job loaded may change it.
"""


def page() -> str:
    """The whole page."""
    from orchestrator.service.app import description

    told = description()
    parts = [_BEGINNING]
    tags: dict[str, list[str]] = {}
    for path, methods in told["paths"].items():
        for method, route in methods.items():
            tags.setdefault(route["tags"][0], []).append(_route(path, method, route, told))
    for tag, routes in tags.items():
        parts += [f"## {tag}\n", *routes]
    parts += ["## Shapes\n", *_shapes(told)]
    return "\n".join(parts).rstrip() + "\n"


def _route(path: str, method: str, route: dict[str, Any], told: dict[str, Any]) -> str:
    lines = [f"### {method.upper()} {path}\n", route.get("description", "").strip(), ""]
    parameters = [one for one in route.get("parameters", []) if one["in"] == "query"]
    if parameters:
        lines += ["| query | type | meaning |", "|---|---|---|"]
        lines += [_parameter(one) for one in parameters]
        lines.append("")
    body = route.get("requestBody", {}).get("content", {})
    for kind, content in body.items():
        name = _name(content["schema"])
        lines += [f"Body: {name if name != 'object' else f'`{kind}`'}", ""]
        lines += _example(content["schema"], told)
        if name == "object":
            lines += [*_fields(content["schema"]), ""]
    answers = [
        f"{status} {_answer(answer)}".strip()
        for status, answer in sorted(route["responses"].items())
        if not status.startswith(("4", "5")) or status in ("409", "416", "503")
    ]
    lines += [f"Answers: {', '.join(answers)}.", ""]
    return "\n".join(lines)


def _parameter(one: dict[str, Any]) -> str:
    schema = one["schema"]
    default = f" (default {schema['default']})" if schema.get("default") is not None else ""
    return f"| `{one['name']}` | {_type(schema)}{default} | {_words(one)} |"


def _answer(answer: dict[str, Any]) -> str:
    for kind, content in answer.get("content", {}).items():
        name = _name(content.get("schema", {}))
        return name if name != "object" else f"`{kind}`"
    words = str(answer.get("description", ""))
    return "" if words in ("Successful Response", "OK") else words.rstrip(".")


def _shapes(told: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(told["components"]["schemas"].items()):
        fields = _fields(schema) if "properties" in schema else [f"One of {_type(schema)}."]
        yield "\n".join([f"### {_plain(name)}\n", schema.get("description", ""), "", *fields, ""])


def _fields(schema: dict[str, Any]) -> list[str]:
    required = set(schema.get("required", ()))
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in schema["properties"].items():
        mark = "" if name in required else ", may be left out"
        lines.append(f"| `{name}` | {_type(field)}{mark} | {_words(field)} |")
    return lines


def _example(schema: dict[str, Any], told: dict[str, Any]) -> list[str]:
    found = told["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
    for example in found.get("examples", []):
        return ["```json", json.dumps(example, indent=2), "```", ""]
    return []


def _words(field: dict[str, Any]) -> str:
    words = str(field.get("description", "")).replace("|", "\\|").replace("\n", " ")
    examples = field.get("examples") or []
    if not words and examples:
        return f"for example `{json.dumps(examples[0])}`"
    return words


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _name(schema)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = [
        f"{word} {schema[name]}"
        for name, word in (("minimum", "from"), ("maximum", "to"))
        if name in schema
    ]
    form = {"date-time": "moment", "binary": "file"}.get(schema.get("format", ""), kind)
    return " ".join([form, *bounds])


def _name(schema: dict[str, Any]) -> str:
    if "$ref" not in schema:
        return str(schema.get("type", "object"))
    name = _plain(schema["$ref"].rpartition("/")[2])
    return f"[{name}](#{name.lower().replace(' ', '-').replace('.', '')})"


def _plain(name: str) -> str:
    """Two faces have shapes of the same name; each is called after its face."""
    if "__" not in name:
        return name
    parts = name.split("__")
    face = next((part for part in parts if part in ("v1", "v2")), "")
    return f"{parts[-1]} of {face}" if face else parts[-1]


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
