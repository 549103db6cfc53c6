"""What an engine writes down of requests: failures unless told otherwise, never a secret, never more than it may."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.client import ask, connected, get
from tests.engine.mesh import API, Mesh, running

WITHIN = 10.0
ALL = '[access_log]\nmode = "all"\nquery = "names"\nredact = ["/invite/"]\n'
LOGFMT = '[access_log]\nmode = "all"\nformat = "logfmt"\nmax_bytes = 8192\nfiles = 3\n'
SECRET = "s3cret-of-somebody"


def path(mesh: Mesh) -> Path:
    """The log of the first engine."""
    return mesh.engine.socket.parent / "engine" / "access.log"


def lines(mesh: Mesh) -> list[str]:
    """What is written, whole lines."""
    try:
        text = path(mesh).read_bytes()
    except FileNotFoundError:
        return []
    return text.decode().split("\n")[:-1]


def records(mesh: Mesh, **fields: object) -> list[dict[str, Any]]:
    """The objects that have these fields."""
    found = [json.loads(line) for line in lines(mesh)]
    return [one for one in found if fields.items() <= one.items()]


def soon(mesh: Mesh, count: int, **fields: object) -> list[dict[str, Any]]:
    """So many of them, once they are written."""
    until = time.monotonic() + WITHIN
    while len(found := records(mesh, **fields)) < count:
        assert time.monotonic() < until, f"{len(found)} of {count}: {lines(mesh)}"
        time.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """An engine that writes everything down."""
    with running(tmp_path_factory.mktemp("log"), config=ALL) as mesh:
        yield mesh


def test_failures_are_written_and_nothing_else(mesh: Mesh) -> None:
    ask(mesh.outbound(), get("/fine"), b"GET")
    mesh.endpoints[API] = ()
    mesh.publish()
    ask(mesh.outbound(), get("/fails?token=" + SECRET, f"authorization: Bearer {SECRET}"), b"GET")
    (found,) = soon(mesh, 1, path="/fails")
    assert (found["code"], found["reason"], found["direction"]) == (503, "no_endpoint", "outbound")
    assert (found["source"], found["destination"], found["method"]) == ("default/web", "default/api", "GET")
    assert found["client"] == "127.0.0.1"
    assert "no instance" in found["detail"]
    assert not [line for line in lines(mesh) if "/fine" in line or SECRET in line]


def test_each_try_that_failed_stands_with_its_reason(mesh: Mesh) -> None:
    mesh.api.die()
    ask(mesh.outbound(), get("/dead"), b"GET")
    (found,) = soon(mesh, 1, path="/dead", direction="outbound")
    assert found["tries"] == len(found["failed"]) >= 1
    assert {(one["instance"], one["reason"]) for one in found["failed"]} == {("api-1", "connect_failed")}
    assert found["instance"] == "api-1"


def test_a_request_is_one_line_with_all_that_is_known_of_it(talkative: Mesh) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    request = get(
        "/a?b=" + SECRET + "&c",
        f"traceparent: 00-{trace}-00f067aa0ba902b7-01",
        "x-request-id: mine",
        method="POST",
        body=b"xyz",
    )
    ask(talkative.outbound(), request, b"POST")
    (out,) = soon(talkative, 1, direction="outbound", path="/a?b&c")
    (into,) = soon(talkative, 1, direction="inbound", path="/a?b&c")
    assert (out["sent"], out["received"], out["code"], out["tries"]) == (3, 2, 200, 1)
    assert 0 < out["first_byte_ms"] <= out["duration_ms"]
    assert (out["instance"], into["instance"], into["tls"]) == ("api-1", "api-1", "1.3")
    assert "tls" not in out
    assert out["trace_id"] == into["trace_id"] == trace
    assert (out["parent_id"], into["parent_id"]) == ("00f067aa0ba902b7", out["span_id"])
    assert out["request_id"] == into["request_id"] == "mine"
    assert not [line for line in lines(talkative) if SECRET in line]


def test_a_path_that_is_a_secret_is_cut(talkative: Mesh) -> None:
    ask(talkative.outbound(), get(f"/invite/{SECRET}"), b"GET")
    soon(talkative, 2, path="/invite/[redacted]")
    assert not [line for line in lines(talkative) if SECRET in line]


def test_hostile_bytes_make_no_lines(talkative: Mesh) -> None:
    hostile = b"GET /%0a%0d\x22\x7f HTTP/1.1\r\nhost: x\r\n\r\n"
    ask(talkative.outbound(), hostile)
    ask(talkative.outbound(), get("/odd", 'x-request-id: "} {"code":200}\x85\u2028'.encode().decode("latin-1")), b"GET")
    found = soon(talkative, 1, path="/odd", direction="outbound")
    assert '"code":200' in found[0]["request_id"]
    assert all(isinstance(json.loads(line), dict) for line in lines(talkative))


def test_a_client_that_leaves_is_written_down(talkative: Mesh) -> None:
    talkative.api.script = lambda talk: time.sleep(0.3) if talk.request() else None
    with connected(talkative.outbound()) as wire:
        wire.send(get("/leaves", method="POST", body=b"x")[:-1])
        time.sleep(0.05)
    soon(talkative, 1, path="/leaves", code=499)
    talkative.reset()


def test_logfmt_stays_within_its_files(tmp_path: Path) -> None:
    with running(tmp_path, config=LOGFMT) as mesh:
        for _ in range(4):
            with connected(mesh.outbound()) as wire:
                wire.send(get("/x") * 50)
                wire.until(50, *[b"GET"] * 50)
        until = time.monotonic() + WITHIN
        while len(list(path(mesh).parent.glob("access.log*"))) < 3:
            ask(mesh.outbound(), get("/more"), b"GET")
            assert time.monotonic() < until
        found = list(path(mesh).parent.glob("access.log*"))
        assert len(found) == 3
        assert sum(one.stat().st_size for one in found) <= 3 * 8192
        assert all(line.startswith("time=") and " code=" in line for line in lines(mesh))
        assert all(one.stat().st_mode & 0o007 == 0 for one in found)


def test_a_storm_of_failures_is_held_back_and_counted(tmp_path: Path) -> None:
    with running(tmp_path, config="[access_log]\nper_second = 5\n") as mesh:
        mesh.endpoints[API] = ()
        mesh.publish()
        for _ in range(10):
            with connected(mesh.outbound()) as wire:
                wire.send(get("/storm") * 20)
                wire.until(20, *[b"GET"] * 20)
        until = time.monotonic() + WITHIN
        while not (held := [one for one in records(mesh) if "suppressed" in one]):
            assert time.monotonic() < until
            time.sleep(0.01)
        seconds = 1 + int(WITHIN)
        written = len(records(mesh, path="/storm"))
        assert 5 <= written < 5 * seconds
        assert sum(one["suppressed"] for one in held) + written <= 200


def test_a_log_that_cannot_be_written_costs_no_request(tmp_path: Path) -> None:
    directory = tmp_path / "there"
    directory.mkdir()
    config = f'[access_log]\nmode = "all"\npath = "{directory}"\n'
    with running(tmp_path / "mesh", config=config) as mesh:
        (response,) = ask(mesh.outbound(), get("/"), b"GET")
        assert response.status == 200
        assert os.listdir(directory) == []
