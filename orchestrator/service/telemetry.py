"""Spans for OpenTelemetry and errors for Sentry: both off, and not imported, unless asked for.

They are asked for as everywhere, by the environment: `OTEL_EXPORTER_OTLP_ENDPOINT` (or that for
traces alone) and `SENTRY_DSN`. Neither gets a prompt, a picture, a key's secret or a body.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from ..errors import UsageError
from ..extras import install_line
from ..version import __version__
from .journal import Visit
from .tracing import Trace
from .views import RequestView

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NAME = "spriteworks"


class Telemetry(Protocol):
    """Who is told of requests and jobs that are over; must be quick, from any thread."""

    def request(self, visit: Visit, method: str, path: str, began: float, ended: float) -> None:
        """An HTTP request was answered; s since the epoch."""

    def job(self, view: RequestView) -> None:
        """A job has come to its end."""


class Nothing:
    """Tells nobody."""

    def request(self, visit: Visit, method: str, path: str, began: float, ended: float) -> None:
        """Tell nobody."""

    def job(self, view: RequestView) -> None:
        """Tell nobody."""


class Spans:
    """Tells OpenTelemetry, in spans whose ids are those of the log and of `traceparent`.

    They are written down at their ends, so that a job's span may begin in one process and end in
    the next.
    """

    def __init__(self, processor: Any) -> None:
        """`processor` is a span processor of OpenTelemetry's SDK."""
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

        self._processor = processor
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence.
        ours = Resource({SERVICE_NAME: _NAME, SERVICE_VERSION: __version__})
        self._resource = ours.merge(Resource.create({}))
        if str(self._resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            self._resource = self._resource.merge(ours)

    def request(self, visit: Visit, method: str, path: str, began: float, ended: float) -> None:
        """Note a request."""
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "url.path": path,
            "http.response.status_code": visit.status,
            "spriteworks.request": visit.id,
        }
        if visit.key:
            attributes["spriteworks.key"] = visit.key
        self._note(method, "SERVER", visit.trace, began, ended, attributes, visit.status >= 500)

    def job(self, view: RequestView) -> None:
        """Note a job."""
        trace = view.trace
        if trace is None or view.ended_at is None:
            return
        attributes: dict[str, Any] = {
            "spriteworks.job": view.id,
            "spriteworks.key": view.owner,
            "spriteworks.server": view.server,
            "spriteworks.status": view.status.value,
            "spriteworks.queue_ms": view.queue_ms,
        }
        if view.error is not None:
            attributes["error.type"] = view.error.code
        given = {name: value for name, value in attributes.items() if value not in (None, "")}
        failed = view.error is not None
        self._note("job", "INTERNAL", trace, view.created_at, view.ended_at, given, failed)

    def close(self) -> None:
        """Send what was not sent yet."""
        self._processor.shutdown()

    def _note(
        self,
        name: str,
        kind: str,
        trace: Trace,
        began: float,
        ended: float,
        attributes: Mapping[str, Any],
        failed: bool,
    ) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.status import Status, StatusCode

        span = ReadableSpan(
            name=name,
            context=_context(trace, trace.span_id, is_remote=False),
            parent=_context(trace, trace.parent_id, is_remote=kind == "SERVER"),
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind[kind],
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=int(began * 1e9),
            end_time=int(ended * 1e9),
        )
        self._processor.on_end(span)


def _context(trace: Trace, span_id: str, *, is_remote: bool) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    if not span_id:
        return None
    return SpanContext(
        int(trace.trace_id, 16),
        int(span_id, 16),
        is_remote,
        TraceFlags(TraceFlags.SAMPLED if trace.sampled else TraceFlags.DEFAULT),
        TraceState.from_header([trace.state] if trace.state else []),
    )


@contextmanager
def opened(environment: Mapping[str, str]) -> Iterator[Telemetry]:
    """What the environment asks for; raises UsageError where a package for it is missing."""
    if environment.get("SENTRY_DSN"):
        _start_sentry()
    if not _wants_spans(environment):
        yield Nothing()
        return
    spans = Spans(_exporting())
    try:
        yield spans
    finally:
        spans.close()


def _wants_spans(environment: Mapping[str, str]) -> bool:
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none"
    return not off and not none and any(environment.get(name) for name in _ENDPOINTS)


def _exporting() -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise _missing("OTEL_EXPORTER_OTLP_ENDPOINT", "otel") from error
    return BatchSpanProcessor(OTLPSpanExporter())


def _start_sentry(**options: Any) -> None:
    """Send errors to Sentry; `options` go to it, for tests."""
    try:
        import sentry_sdk
        from sentry_sdk.integrations.logging import LoggingIntegration
    except ImportError as error:
        raise _missing("SENTRY_DSN", "sentry") from error
    sentry_sdk.init(
        release=f"{_NAME}@{__version__}",
        # What it would gather by itself has bodies, headers and the values of variables.
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration(level=logging.INFO, event_level=logging.ERROR)],
        max_request_body_size="never",
        include_local_variables=False,
        **options,
    )


def _missing(variable: str, extra: str) -> UsageError:
    return UsageError(
        f"{variable} is set, and what it needs is not installed: {install_line(extra)}"
    )
