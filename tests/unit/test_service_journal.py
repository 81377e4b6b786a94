"""What the service writes of itself: lines that nobody can forge, and traces that go through."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import StoreError
from orchestrator.local.process import python_environment
from orchestrator.service.journal import FORMATS, JsonLines, TextLines
from orchestrator.service.tracing import Trace, begun, job_trace, parsed
from orchestrator.testing import FakeServer, Script
from service_parts import opened
from service_world import World, graph, serving, until

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = PARENT[3:35]


class Lines:
    """The log while a test runs, in a form."""

    def __init__(self, form: str) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(JsonLines() if form == "json" else TextLines())

    def lines(self) -> list[str]:
        return self.stream.getvalue().split("\n")[:-1]

    def told(self, **like: Any) -> list[dict[str, Any]]:
        """The lines of JSON that say all of that."""
        found = [json.loads(line) for line in self.lines()]
        return [one for one in found if like.items() <= one.items()]


@pytest.fixture(params=FORMATS)
def log(request: pytest.FixtureRequest) -> Iterator[Lines]:
    yield from _logged(request.param)


@pytest.fixture
def json_log() -> Iterator[Lines]:
    yield from _logged("json")


def _logged(form: str) -> Iterator[Lines]:
    lines, ours = Lines(form), logging.getLogger("orchestrator.service")
    level = ours.level
    ours.addHandler(lines.handler)
    ours.setLevel(logging.INFO)
    yield lines
    ours.removeHandler(lines.handler)
    ours.setLevel(level)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def world(tmp_path: Path, fake: FakeServer) -> Iterator[World]:
    with serving(tmp_path, [fake.url]) as world:
        yield world


# -------------------------------------------------------------------------------- lines


@given(text=st.text(), key=st.text(max_size=40))
@pytest.mark.parametrize("form", FORMATS)
def test_no_text_begins_a_line_of_its_own(form: str, text: str, key: str) -> None:
    lines = Lines(form)
    record = logging.LogRecord("a", logging.INFO, "", 0, "said %s", (text,), None)
    record.key = key
    lines.handler.handle(record)
    assert len(lines.stream.getvalue().splitlines()) == 1
    (line,) = lines.lines()
    assert line.isprintable()
    if form == "json":
        told = json.loads(line)
        assert told["message"] == f"said {text}"
        assert told.get("key", "") == key


@pytest.mark.parametrize("form", FORMATS)
def test_a_thread_that_ends_by_an_error_is_in_the_form_of_the_log(form: str) -> None:
    program = (
        "import sys, threading\n"
        "from orchestrator.service.journal import set_up\n"
        "set_up('info', sys.argv[1])\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='one')\n"
        "thread.start(); thread.join()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, form],
        capture_output=True,
        text=True,
        check=True,
        env=python_environment(),
    )
    first, *more = ran.stderr.splitlines()
    if form == "json":
        assert not more
        assert "ZeroDivisionError" in json.loads(first)["exception"]
        assert json.loads(first)["message"] == "one ended by an error"
    else:
        assert "ERROR orchestrator.service.journal: one ended by an error" in first
        assert all(line.startswith("    | ") for line in more)


def test_an_error_of_the_database_quotes_no_value(tmp_path: Path) -> None:
    missing = sa.text("INSERT INTO nowhere VALUES (:prompt)")
    with (
        pytest.raises(StoreError) as caught,
        opened(tmp_path) as database,
        database.transaction() as connection,
    ):
        connection.execute(missing, {"prompt": "a secret garden"})
    lines = traceback.format_exception(caught.type, caught.value, caught.tb)
    told = "".join(one for one in lines if not one.startswith("  File"))
    assert "nowhere" in told
    assert "a secret garden" not in told


def test_a_forged_line_is_none(log: Lines, world: World) -> None:
    """By each way that letters of a client come into the log."""
    forged = "x%0a2026-01-01T00:00:00.000Z%20CRITICAL%20root:%20all%20is%20lost%e2%80%a8%1b[31m"
    assert world.call("GET", f"/api/v2/jobs/{forged}").status_code == 404
    world.call("GET", "/v1/servers", headers={"Host": "evil.example"})
    world.call("GET", "/v1/servers", headers={"X-Request-Id": "a b=c\x1b[31m"})
    workflow = graph(prefix="a\nCRITICAL")
    world.ended(world.post(workflow, metadata={"a\nb": "c\nd"}).json()["id"])
    until(lambda: any("job succeeded" in line for line in log.lines()), bool)
    text = log.stream.getvalue()
    assert "all is lost" in text
    for line in text.splitlines():
        assert line.isprintable()
        assert "\x1b" not in line
        assert line.startswith(("{", "20"))
        assert not line.startswith("2026-01-01")


def test_an_exceptions_lines_are_no_lines_of_ours(log: Lines) -> None:
    try:
        raise ValueError("it broke\n2026-01-01T00:00:00.000Z CRITICAL root: all is lost")
    except ValueError:
        logging.getLogger("orchestrator.service.test").exception("a fault")
    first, *others = log.lines()
    assert "a fault" in first
    assert all(line.startswith("    | ") for line in others)
    assert "all is lost" in log.stream.getvalue()


# --------------------------------------------------------------------------------- jobs


def test_a_line_for_each_request_and_each_change_of_a_job(world: World, json_log: Lines) -> None:
    key, secret = world.service.keys.create("ann")
    world.service._keys_asked = 0.0
    world.session.headers["Authorization"] = f"Bearer {secret}"
    posted = world.call(
        "POST",
        "/api/v2/jobs",
        json={"workflow": graph(prefix="a secret garden"), "metadata": {"of": "thorns"}},
        headers={"traceparent": PARENT, "tracestate": "a=1", "X-Request-Id": "ours-1"},
    )
    assert posted.headers["X-Request-Id"] == "ours-1"
    id = posted.json()["id"]
    world.ended(id)
    until(lambda: json_log.told(message="job succeeded"), bool)
    (asked,) = json_log.told(message="request", method="POST")
    assert asked["path"] == "/api/v2/jobs"
    assert (asked["status"], asked["request"], asked["key"]) == (201, "ours-1", key.id)
    assert asked["ms"] > 0
    lines = json_log.told(job=id)
    assert [one["message"] for one in lines] == ["job queued", "job running", "job succeeded"]
    assert {one["key"] for one in lines} == {key.id}
    assert {one["trace"] for one in lines} == {TRACE} == {asked["trace"]}
    assert lines[0]["request"] == "ours-1"
    assert lines[-1]["server"] == world.service.servers()[0][0].name
    assert lines[-1]["ms"] >= 0
    text = json_log.stream.getvalue()
    for private in (secret, "secret garden", "thorns"):
        assert private not in text


def test_what_failed_is_told_by_its_kind(world: World, fake: FakeServer, json_log: Lines) -> None:
    fake.script(*(Script(fail_in="2", fail_as=("ValueError", "a secret garden")) for _ in range(9)))
    id = world.post(graph()).json()["id"]
    assert world.ended(id)["status"] == "failed"
    until(lambda: json_log.told(message="job failed"), bool)
    (failed,) = json_log.told(message="job failed")
    assert (failed["level"], failed["code"], failed["node"]) == (
        "warning",
        "node_execution_error",
        "2",
    )
    assert json_log.told(message="job attempt failed", job=id)
    assert "secret garden" not in json_log.stream.getvalue()


def test_what_monitors_ask_is_no_news(world: World, json_log: Lines) -> None:
    for path in ("/health", "/ready", "/metrics", "/api/v2/health"):
        assert world.call("GET", path).ok
    assert not json_log.told(message="request")


def test_a_request_that_breaks_is_told_of_and_shows_nothing(
    world: World, json_log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("the password is x")

    monkeypatch.setattr(world.service, "models", broken)
    answer = world.call("GET", "/v1/models")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "password" not in answer.text
    (line,) = json_log.told(message="request")
    assert line["status"] == 500
    assert line["request"] in answer.text


# ------------------------------------------------------------------------------- traces


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (PARENT, True),
        (PARENT[:-2] + "00", False),
        (PARENT[:-2] + "03", True),
        # later versions are read as far as they are known
        ("01" + PARENT[2:], True),
        ("cc" + PARENT[2:] + "-what-comes-later", True),
        (f" {PARENT}\t", True),
    ],
)
def test_a_trace_goes_on(header: str, sampled: bool) -> None:
    trace = begun([header], ["a=1,b@c=2", " d=3"])
    assert trace.trace_id == TRACE
    assert trace.parent_id == PARENT[36:52]
    assert trace.span_id != trace.parent_id
    assert trace.sampled is sampled
    assert trace.state == "a=1,b@c=2,d=3"
    assert parsed(trace.header) is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        PARENT.upper(),
        PARENT + "-more",
        PARENT + "0",
        "ff" + PARENT[2:],
        "0" + PARENT[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"00-{TRACE}-00f067aa0ba902b7-1",
        f"00_{TRACE}_00f067aa0ba902b7_01",
        "cc" + PARENT[2:] + "x",
        PARENT.replace("4", "\u0664"),
    ],
)
def test_what_is_no_trace_begins_one(header: str) -> None:
    trace = begun([header], ["a=1"])
    assert trace.trace_id != TRACE
    assert (trace.parent_id, trace.state, trace.sampled) == ("", "", True)
    assert parsed(trace.header) is not None


def test_two_parents_are_none() -> None:
    assert begun([PARENT, PARENT]).trace_id != TRACE


@pytest.mark.parametrize(
    "state",
    [
        "a",
        "a=1,a=2",
        "A=1",
        "a=",
        "a=1=2",
        "a=\u00e4",
        "=1",
        "a=1,b",
        ",".join(f"k{one}=1" for one in range(33)),
        ",".join(f"k{one}={'v' * 60}" for one in range(9)),
    ],
)
def test_a_wrong_state_is_dropped_and_the_trace_goes_on(state: str) -> None:
    trace = begun([PARENT], [state])
    assert (trace.trace_id, trace.state) == (TRACE, "")


@given(header=st.text(), state=st.text())
def test_no_header_breaks_it(header: str, state: str) -> None:
    trace = begun([header], [state])
    assert isinstance(trace, Trace)
    assert parsed(trace.header) is not None


def test_a_trace_reaches_the_server_and_outlives_the_process(
    tmp_path: Path, fake: FakeServer
) -> None:
    id = "0af76519-16cd-43dd-8448-eb211c80319c"
    parent = begun([PARENT])
    assert job_trace(parent, id).span_id == "0af7651916cd43dd"
    with serving(tmp_path, [fake.url]) as world:
        id = world.call(
            "POST",
            "/api/v2/jobs",
            json={"workflow": graph()},
            headers={"traceparent": PARENT, "tracestate": "a=1"},
        ).json()["id"]
        world.ended(id)
    sent = fake.submissions[-1].extra_data
    assert sent["traceparent"].startswith(f"00-{TRACE}-{id.replace('-', '')[:16]}-")
    assert sent["tracestate"] == "a=1"
    with serving(tmp_path, [fake.url]) as world:
        view = world.service._requests.get(id)
        assert view is not None
        assert view.trace is not None
        assert view.trace.header == sent["traceparent"]
        # a face tells nothing of it
        assert TRACE not in world.call("GET", f"/v1/jobs/{id}").text


def test_without_a_trace_each_request_has_one_of_its_own(world: World, json_log: Lines) -> None:
    for color in range(2):
        world.post(graph(color=color))
    traces = {one["trace"] for one in json_log.told(message="job queued")}
    assert len(traces) == 2
