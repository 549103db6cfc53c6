"""Spans as a collector gets them over OTLP, decoded by OpenTelemetry's own messages."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from policy.compiled import CertificateFiles
from tests.engine.client import ask, get
from tests.engine.mesh import Mesh, running
from tests.engine.test_metrics import soon
from tests.gateway.files import issue

WITHIN = 15.0
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes what is exported; answers with `statuses` first, and then with 200. Over TLS if it has a certificate."""

    def __init__(self, files: CertificateFiles | None = None) -> None:
        self.statuses: list[int] = []
        self.answered: list[int] = []
        self._got = threading.Condition()
        self._spans: list[tuple[str, Span]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._scheme = "http"
        if files is not None:
            self._scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.cert_file, files.key_file)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """For an engine's configuration."""
        return f"{self._scheme}://127.0.0.1:{self.server.server_port}/v1/traces"

    def close(self) -> None:
        """The end."""
        self.server.shutdown()
        self.server.server_close()

    def spans(self, count: int, of: Callable[[Span], bool] = lambda span: True) -> list[tuple[str, Span]]:
        """So many spans, each with its service, once they are there."""

        def found() -> list[tuple[str, Span]]:
            return [(service, span) for service, span in self._spans if of(span)]

        with self._got:
            assert self._got.wait_for(lambda: len(found()) >= count, WITHIN), self._spans
            return found()

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._got:
            for resource in request.resource_spans:
                name = "/".join(one.value.string_value for one in resource.resource.attributes)
                self._spans += [(name, span) for scope in resource.scope_spans for span in scope.spans]
            self._got.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = collector.statuses.pop(0) if collector.statuses else 200
                collector.answered.append(status)
                if status == 200:
                    assert self.path == "/v1/traces"
                    assert self.headers["content-type"] == "application/x-protobuf"
                    collector._take(body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Nothing."""

        return Handler


@contextmanager
def collecting(files: CertificateFiles | None = None) -> Iterator[Collector]:
    """A collector for the length of a scope."""
    collector = Collector(files)
    try:
        yield collector
    finally:
        collector.close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """One for the module."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Mesh]:
    """An engine that records no trace of its own accord."""
    config = f'[traces]\nendpoint = "{collector.endpoint}"\nsample = 0.0\n'
    with running(tmp_path_factory.mktemp("traced"), config=config) as mesh:
        yield mesh


def attributes(pairs: list[KeyValue]) -> dict[str, str | int]:
    """As a mapping."""
    return {one.key: one.value.string_value or one.value.int_value for one in pairs}


def at(path: str) -> Callable[[Span], bool]:
    """Spans of requests to a path."""
    return lambda span: attributes(list(span.attributes)).get("url.path") == path


def test_a_trace_that_is_recorded_goes_through_both_sides(traced: Mesh, collector: Collector) -> None:
    ask(traced.outbound(), get("/kept?a=b", f"traceparent: 00-{TRACE}-{PARENT}-01"), b"GET")
    found = {span.kind: (service, span) for service, span in collector.spans(2, at("/kept"))}
    (caller, out), (called, into) = found[Span.SPAN_KIND_CLIENT], found[Span.SPAN_KIND_SERVER]
    assert (caller, called) == ("default/web", "default/api")
    assert out.trace_id == into.trace_id == bytes.fromhex(TRACE)
    assert (out.parent_span_id, into.parent_span_id) == (bytes.fromhex(PARENT), out.span_id)
    assert out.name == into.name == "GET default/api"
    assert abs(out.end_time_unix_nano / 1e9 - time.time()) < 60
    assert out.start_time_unix_nano <= into.end_time_unix_nano
    said = attributes(list(out.attributes))
    assert (said["http.response.status_code"], said["weft.instance"], said["weft.tries"]) == (200, "api-1", 1)
    assert out.status.code == Status.STATUS_CODE_UNSET
    (traceparent,) = traced.api.requests[-1].values(b"traceparent")
    assert traceparent.decode() == f"00-{TRACE}-{into.span_id.hex()}-01"


def test_what_is_not_recorded_is_not_exported_unless_it_fails(traced: Mesh, collector: Collector) -> None:
    ask(traced.outbound(), get("/quiet"), b"GET")
    ask(traced.outbound(), get("/quiet", f"traceparent: 00-{TRACE}-{PARENT}-00"), b"GET")
    flags = {request.values(b"traceparent")[0][-2:] for request in traced.api.requests if request.target == b"/quiet"}
    assert flags == {b"00"}
    traced.api.die()
    ask(traced.outbound(), get("/fails", f"traceparent: 00-{TRACE}-{PARENT}-00"), b"GET")
    spans = [span for _, span in collector.spans(2, at("/fails"))]
    (out,) = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert out.status.code == Status.STATUS_CODE_ERROR
    assert attributes(list(out.attributes))["error.type"] in {"connect_failed", "retry_exhausted"}
    tries = [attributes(list(event.attributes)) for event in out.events if event.name == "try failed"]
    assert {one["weft.reason"] for one in tries} == {"connect_failed"}
    assert collector.spans(0, at("/quiet")) == []
    traced.reset()


def test_a_collector_that_is_overloaded_is_asked_again(traced: Mesh, collector: Collector) -> None:
    collector.answered.clear()
    collector.statuses = [503, 429]
    ask(traced.outbound(), get("/again", f"traceparent: 00-{TRACE}-{PARENT}-01"), b"GET")
    assert len(collector.spans(2, at("/again"))) == 2
    assert collector.answered[:3] == [503, 429, 200]


def test_a_batch_that_is_refused_is_lost_and_counted(tmp_path: Path) -> None:
    with collecting() as collector:
        collector.statuses = [400]
        config = f'[traces]\nendpoint = "{collector.endpoint}"\nsample = 1.0\n'
        with running(tmp_path, config=config) as mesh:
            ask(mesh.outbound(), get("/lost"), b"GET")
            soon(2, mesh.engine, "weft_spans", "weft_spans_total", outcome="failed")
            ask(mesh.outbound(), get("/taken"), b"GET")
            assert len(collector.spans(2, at("/taken"))) == 2
            soon(2, mesh.engine, "weft_spans", "weft_spans_total", outcome="exported")


@pytest.mark.parametrize("vouched", [True, False])
def test_over_https_a_collector_gets_spans_if_somebody_vouches_for_it(tmp_path: Path, vouched: bool) -> None:
    files, others = (issue(tmp_path, name, address="127.0.0.1") for name in ("otel", "other"))
    with collecting(files) as collector:
        trusted = (files if vouched else others).cert_file
        config = f'[traces]\nendpoint = "{collector.endpoint}"\nca_file = "{trusted}"\nsample = 1.0\n'
        with running(tmp_path, config=config) as mesh:
            ask(mesh.outbound(), get("/secret"), b"GET")
            soon(2, mesh.engine, "weft_spans", "weft_spans_total", outcome="exported" if vouched else "failed")
            assert len(collector.spans(0)) == (2 if vouched else 0)


def test_a_trace_of_a_stranger_is_not_believed_at_a_gateway(traced: Mesh) -> None:
    ask(traced.gateway(), get("/stranger", f"traceparent: 00-{TRACE}-{PARENT}-01"), b"GET")
    (request,) = [request for request in traced.api.requests if request.target == b"/stranger"]
    (traceparent,) = request.values(b"traceparent")
    assert TRACE.encode() not in traceparent
    assert traceparent.endswith(b"-00")
