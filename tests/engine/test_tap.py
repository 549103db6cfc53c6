"""Listening to single requests at a running engine: filtered, redacted, without slowing it, by whoever owns it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from proxy import frames
from proxy.tap import Filter, TapError, tap
from tests.engine.agent import Agent
from tests.engine.client import ask, connected, get
from tests.engine.mesh import API, Mesh

WITHIN = 10.0
SECRET = "s3cret-of-somebody"


def heard(mesh: Mesh, wanted: Filter, *requests: bytes, expected: int) -> list[dict[str, Any]]:
    """What a tap tells of these requests, once it has told of so many."""
    found: list[dict[str, Any]] = []

    async def listen() -> None:
        async with asyncio.timeout(WITHIN), tap(mesh.engine.socket, wanted) as records:
            for request in requests:
                await asyncio.to_thread(ask, mesh.outbound(), request, request.split(b" ")[0])
            while len(found) < expected:
                found.append(json.loads((await anext(records)).record))
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    found.append(json.loads((await anext(records)).record))

    asyncio.run(listen())
    return found


def test_a_request_is_told_at_both_of_its_engines_sides(mesh: Mesh) -> None:
    found = heard(mesh, Filter(), get("/a?token=" + SECRET, f"cookie: {SECRET}"), expected=2)
    assert {one["direction"] for one in found} == {"outbound", "inbound"}
    assert {one["path"] for one in found} == {"/a"}
    assert SECRET not in json.dumps(found)


def test_only_what_the_filter_says_is_told(mesh: Mesh) -> None:
    wanted = Filter(direction="outbound", services=(str(API),), methods=("GET",), path_prefix="/v2", codes=("2xx",))
    requests = (get("/v1"), get("/v2/x", method="POST", body=b""), get("/v2/y"))
    (found,) = heard(mesh, wanted, *requests, expected=1)
    assert found["path"] == "/v2/y"


def test_a_failure_comes_with_its_reason_and_that_of_each_try(mesh: Mesh) -> None:
    mesh.api.die()
    (found,) = heard(mesh, Filter(direction="outbound", failed=True), get("/dead"), expected=1)
    assert found["reason"] in {"connect_failed", "retry_exhausted"}
    assert {one["reason"] for one in found["failed"]} == {"connect_failed"}


def test_a_field_that_was_asked_for_is_told_and_a_secret_one_never(mesh: Mesh) -> None:
    wanted = Filter(direction="outbound", fields=("x-canary",))
    (found,) = heard(mesh, wanted, get("/", "x-canary: yes", f"authorization: {SECRET}"), expected=1)
    assert found["fields"] == {"x-canary": "yes"}
    assert SECRET not in json.dumps(found)
    with pytest.raises(TapError, match="authorization"):
        heard(mesh, Filter(fields=("Authorization",)), expected=1)


def test_a_filter_that_means_nothing_is_refused_by_name(mesh: Mesh) -> None:
    with pytest.raises(TapError, match="7xx"):
        heard(mesh, Filter(codes=("7xx",)), expected=1)


def test_a_tap_changes_nothing_and_the_writing_agent_stays(mesh: Mesh) -> None:
    with Agent(mesh) as listener:
        assert isinstance(listener.say("subscribe", filter={}), frames.Subscribed)
        mesh.publish()
        ask(mesh.outbound(), get("/"), b"GET")
        assert isinstance(listener.hear(), frames.Tap)


def test_more_taps_than_there_may_be_are_refused_and_a_place_that_was_left_is_free(mesh: Mesh) -> None:
    listeners = [Agent(mesh) for _ in range(16)]
    for listener in listeners:
        assert isinstance(listener.say("subscribe", filter={}), frames.Subscribed)
    with Agent(mesh) as last:
        refused = last.say("subscribe", filter={})
        assert isinstance(refused, frames.Nack)
        assert "as many taps" in refused.message
    for listener in listeners:
        listener.__exit__()
    until = time.monotonic() + WITHIN
    while True:
        with Agent(mesh) as again:
            if isinstance(again.say("subscribe", filter={}), frames.Subscribed):
                break
        assert time.monotonic() < until


def test_a_reader_that_stops_loses_records_and_slows_nothing(mesh: Mesh) -> None:
    with Agent(mesh) as slow:
        assert isinstance(slow.say("subscribe", filter={}), frames.Subscribed)

        def storm() -> None:
            for _ in range(40):
                with connected(mesh.outbound()) as wire:
                    wire.send(get("/" + "x" * 900) * 50)
                    wire.until(50, *[b"GET"] * 50)

        thread = threading.Thread(target=storm)
        thread.start()
        thread.join(3 * WITHIN)
        assert not thread.is_alive()
        dropped = 0
        while not dropped:
            record = slow.hear()
            assert isinstance(record, frames.Tap)
            dropped = record.dropped
        assert dropped > 0


def test_a_recording_begins_with_what_it_is(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    from ops.cli.app import run

    def call() -> None:
        until = time.monotonic() + WITHIN
        while not done.is_set() and time.monotonic() < until:
            ask(mesh.outbound(), get("/recorded"), b"GET")

    done = threading.Event()
    calls = threading.Thread(target=call)
    calls.start()
    socket = str(mesh.engine.socket)
    try:
        assert run(["tap", "service/api", "--engine", socket, "--count", "3", "--for", "10s", "-o", "json"]) == 0
    finally:
        done.set()
        calls.join(WITHIN)
    first, *rest = capsys.readouterr().out.splitlines()
    assert json.loads(first)["weft_tap"] == 1
    assert json.loads(first)["filter"]["services"] == ["default/api"]
    assert [json.loads(line)["path"] for line in rest] == ["/recorded"] * 3
