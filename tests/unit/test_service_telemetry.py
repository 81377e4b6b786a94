"""OpenTelemetry and Sentry: off unless asked for, and what they are told where they are."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.extras import install_line
from orchestrator.local.process import python_environment
from orchestrator.service import telemetry
from orchestrator.service.journal import Visit
from orchestrator.service.telemetry import Nothing, Spans
from orchestrator.service.tracing import begun
from orchestrator.testing import FakeServer
from service_world import graph, serving, until

# not as it stands in the source, of which Sentry shows some lines
SECRET = " ".join(("a", "secret", "garden"))
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_it_is_off_unless_asked_for(environment: dict[str, str]) -> None:
    with telemetry.opened(environment) as told:
        assert isinstance(told, Nothing)


def test_nothing_of_it_is_imported_where_it_is_off() -> None:
    code = (
        "import sys, orchestrator.service.serving as s\n"
        "with s.telemetry.opened({}): pass\n"
        "print([m for m in sys.modules if m.startswith(('sentry_sdk', 'opentelemetry.sdk'))])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=python_environment()
    )
    assert told.stdout.strip() == b"[]"


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry.exporter.otlp.proto.http", "otel"),
        ("SENTRY_DSN", "sentry_sdk", "sentry"),
    ],
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    for known in [one for one in sys.modules if one.startswith(module)]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, module, None)
    environment = {name: "http://key@127.0.0.1:1/1"}
    with (
        pytest.raises(UsageError, match=re.escape(install_line(extra))),
        telemetry.opened(environment),
    ):
        pass


# --------------------------------------------------------------------------------- spans


@pytest.fixture
def exporter() -> Any:
    module = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter",
        reason="needs the extra otel: pip install opentelemetry-sdk",
    )
    return module.InMemorySpanExporter()


@pytest.fixture
def spans(exporter: Any) -> Iterator[Spans]:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    made = Spans(SimpleSpanProcessor(exporter))
    yield made
    made.close()


def test_a_request_and_its_job_are_spans_of_the_callers_trace(
    tmp_path: Path, exporter: Any, spans: Spans
) -> None:
    with FakeServer() as fake, serving(tmp_path, [fake.url], told=spans.request) as world:
        world.service.when_ended(spans.job)
        posted = world.call(
            "POST",
            "/api/v2/jobs",
            json={"workflow": graph(prefix="a secret garden")},
            headers={"traceparent": PARENT, "X-Request-Id": "ours"},
        )
        id = posted.json()["id"]
        world.ended(id)
        until(lambda: {one.name for one in exporter.get_finished_spans()}, {"job", "POST"}.issubset)
    found = {one.name: one for one in exporter.get_finished_spans()}
    request, job = found["POST"], found["job"]
    assert f"{request.parent.span_id:016x}" == PARENT[36:52]
    assert job.parent.span_id == request.context.span_id
    assert {f"{one.context.trace_id:032x}" for one in (request, job)} == {PARENT[3:35]}
    assert f"{job.context.span_id:016x}" == id.replace("-", "")[:16]
    assert request.attributes["http.response.status_code"] == 201
    assert request.attributes["spriteworks.request"] == "ours"
    assert job.attributes["spriteworks.job"] == id
    assert job.attributes["spriteworks.status"] == "succeeded"
    assert job.start_time < job.end_time
    assert request.resource.attributes["service.name"] == "spriteworks"
    assert "secret garden" not in json.dumps([json.loads(one.to_json()) for one in found.values()])


def test_a_caller_that_does_not_sample_is_heard(exporter: Any, spans: Spans) -> None:
    for flags, count in (("00", 0), ("01", 1)):
        visit = Visit(id="x", trace=begun([PARENT[:-2] + flags]), status=500)
        spans.request(visit, "GET", "/v1/jobs", 1.0, 2.0)
        assert len(exporter.get_finished_spans()) == count
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code.name == "ERROR"
    assert (span.start_time, span.end_time) == (1_000_000_000, 2_000_000_000)


def test_the_environments_name_counts(monkeypatch: pytest.MonkeyPatch, exporter: Any) -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    monkeypatch.setenv("OTEL_SERVICE_NAME", "sprites-eu")
    spans = Spans(SimpleSpanProcessor(exporter))
    spans.request(Visit(id="x", trace=begun([])), "GET", "/", 1.0, 2.0)
    (span,) = exporter.get_finished_spans()
    assert span.resource.attributes["service.name"] == "sprites-eu"
    assert span.parent is None


def test_spans_are_sent_to_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    came: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    try:
        with telemetry.opened({"OTEL_EXPORTER_OTLP_ENDPOINT": url}) as told:
            told.request(Visit(id="a-request", trace=begun([])), "GET", "/v1/jobs", 1.0, 2.0)
        ((path, body),) = came
    finally:
        server.shutdown()
        server.server_close()
    assert path == "/v1/traces"
    assert b"a-request" in body


# -------------------------------------------------------------------------------- sentry


def test_errors_go_to_sentry_without_bodies_and_values(tmp_path: Path) -> None:
    sentry_sdk = pytest.importorskip("sentry_sdk", reason="needs the extra sentry")
    from sentry_sdk.transport import Transport

    envelopes: list[Any] = []

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            envelopes.append(envelope)

    telemetry._start_sentry(dsn="http://key@127.0.0.1:1/1", transport=Kept)
    try:
        with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:

            def broken(*_: Any) -> None:
                hidden = SECRET
                logging.getLogger("orchestrator.service").error("a fault", exc_info=None)
                raise RuntimeError(f"it broke, {len(hidden)}")

            world.service.submit = broken  # type: ignore[method-assign]
            answer = world.post(graph(prefix=SECRET))
            assert answer.status_code == 500
            until(lambda: envelopes, bool)
    finally:
        sentry_sdk.get_client().close()
        sentry_sdk.init()
    text = json.dumps([item.payload.json for one in envelopes for item in one.items])
    assert "a fault" in text
    assert "secret garden" not in text
