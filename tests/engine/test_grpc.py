"""gRPC by its own library at both ends, through two engines: every form of streaming, deadlines, refusals, slow readers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest

from policy.compiled import Access, Service
from tests.engine.mesh import API, Mesh
from tests.support import http2

WITHIN = 15.0
BIG = 64 * 1024


class Server(grpc.GenericRpcHandler):  # type: ignore[misc]
    """An application: requests and answers are bytes."""

    def __init__(self) -> None:
        self.sent = 0
        self.cancelled = threading.Event()
        self.seen: dict[str, str] = {}
        self._server = grpc.server(ThreadPoolExecutor(32), handlers=(self,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """What a method does."""
        self.seen = {name: value for name, value in details.invocation_metadata if isinstance(value, str)}
        handlers: dict[str, grpc.RpcMethodHandler] = {
            "/test.Echo/Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "/test.Echo/Count": grpc.unary_stream_rpc_method_handler(self._count),
            "/test.Echo/Sum": grpc.stream_unary_rpc_method_handler(self._sum),
            "/test.Echo/Talk": grpc.stream_stream_rpc_method_handler(self._talk),
            "/test.Echo/Endless": grpc.unary_stream_rpc_method_handler(self._endless),
            "/test.Echo/Hang": grpc.unary_unary_rpc_method_handler(self._hang),
            "/test.Echo/Abort": grpc.unary_unary_rpc_method_handler(self._abort),
        }
        return handlers.get(details.method)

    def close(self) -> None:
        """End it."""
        self._server.stop(None).wait(WITHIN)

    def _unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-trailer", "there"),))
        return request[::-1]

    def _count(self, request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()

    def _sum(self, requests: Iterator[bytes], _context: grpc.ServicerContext) -> bytes:
        return str(sum(int(request) for request in requests)).encode()

    def _talk(self, requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            yield request.upper()

    def _endless(self, _request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        while context.is_active():
            self.sent += BIG
            yield bytes(BIG)

    def _hang(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(WITHIN)
        return b""

    def _abort(self, request: bytes, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.NOT_FOUND, request.decode())


@pytest.fixture
def server() -> Iterator[Server]:
    """An application."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def port(pair: Mesh, server: Server) -> int:
    """Where web calls the server, which is on the other host."""
    pair.services[API] = Service(protocol="grpc")
    pair.endpoints[API] = (replace(pair.endpoint("api-2", host=1), port=server.port),)
    pair.publish()
    return pair.outbound().port


@pytest.fixture
def channel(port: int) -> Iterator[grpc.Channel]:
    """A connection of web."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield channel


def test_a_unary_call_has_its_answer_and_its_trailers(channel: grpc.Channel, server: Server) -> None:
    call = channel.unary_unary("/test.Echo/Unary")
    for body in (b"", b"abc", bytes(range(256)) * 4096):
        answer, context = call.with_call(body, timeout=WITHIN)
        assert answer == body[::-1]
        assert ("x-trailer", "there") in context.trailing_metadata()
    assert server.seen["x-weft-caller"].endswith("/svc/web")


def test_a_server_streams(channel: grpc.Channel) -> None:
    answers = channel.unary_stream("/test.Echo/Count")(b"500", timeout=WITHIN)
    assert list(answers) == [str(number).encode() for number in range(500)]


def test_a_client_streams(channel: grpc.Channel) -> None:
    requests = (str(number).encode() for number in range(500))
    assert channel.stream_unary("/test.Echo/Sum")(requests, timeout=WITHIN) == str(sum(range(500))).encode()


def test_both_stream_and_each_answer_comes_before_the_next_request(channel: grpc.Channel) -> None:
    step = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for word in ("one", "two", "three"):
            assert step.acquire(timeout=WITHIN)
            yield word.encode()

    answers = []
    for answer in channel.stream_stream("/test.Echo/Talk")(requests(), timeout=WITHIN):
        answers.append(answer)
        step.release()
    assert answers == [b"ONE", b"TWO", b"THREE"]


def test_a_status_of_the_application_arrives_as_it_was_said(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test.Echo/Abort")(b"gone: 50%", timeout=WITHIN)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "gone: 50%")


def test_a_cancelled_call_is_cancelled_at_the_application(channel: grpc.Channel, server: Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test.Echo/Hang")(b"", timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.cancelled.wait(WITHIN)


def _denied(mesh: Mesh) -> None:
    mesh.services[API] = Service(protocol="grpc", access=Access(default="deny"))


def _nobody(mesh: Mesh) -> None:
    mesh.endpoints[API] = ()


def _dead(mesh: Mesh) -> None:
    (endpoint,) = mesh.endpoints[API]
    mesh.endpoints[API] = (replace(endpoint, port=1),)


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        (_denied, grpc.StatusCode.PERMISSION_DENIED, "denied"),
        (_nobody, grpc.StatusCode.UNAVAILABLE, "no_endpoint"),
        (_dead, grpc.StatusCode.UNAVAILABLE, "retry_exhausted"),
    ],
)
def test_a_refusal_of_an_engine_is_a_status_of_grpc_with_its_reason(
    pair: Mesh, channel: grpc.Channel, change: Callable[[Mesh], None], code: grpc.StatusCode, reason: str
) -> None:
    change(pair)
    pair.publish()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test.Echo/Unary")(b"abc", timeout=WITHIN)
    assert caught.value.code() is code
    told = {*(caught.value.initial_metadata() or ()), *(caught.value.trailing_metadata() or ())}
    assert ("x-weft-reason", reason) in told


def test_readers_that_stopped_hold_no_more_than_their_windows(pair: Mesh, port: int, server: Server) -> None:
    engines = [host.engine for host in pair.hosts]
    with http2.connected(port) as client:
        before = [engine.resident for engine in engines]
        for number in range(20):
            block = http2.request("/test.Echo/Endless", method="POST", content_type="application/grpc", te="trailers")
            stream = 2 * number + 1
            client.send(http2.headers(stream, block, ended=False))
            client.send(http2.frame(http2.DATA, http2.END_STREAM, stream, bytes(5)))
        sent = -1
        while sent != server.sent:
            sent = server.sent
            time.sleep(0.5)
        grown = [engine.resident - was for engine, was in zip(engines, before, strict=True)]
        # The server's own buffers are in what was sent.
        assert 0 < sent < 32 << 20
        assert max(grown) < 16 << 20
    assert server.cancelled.wait(WITHIN)
