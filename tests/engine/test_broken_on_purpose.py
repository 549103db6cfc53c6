"""Faults: what is broken on purpose says so, breaks no more than it should, and ends by itself."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from policy.compiled import Fault, Match, Prefix, Retry, Service, Traffic
from tests.engine.application import answering
from tests.engine.client import get
from tests.engine.mesh import API, GUARDED, Mesh, running
from tests.engine.pair import NEVER, one

NO_RETRY = Retry(max=0)


def later(seconds: float = 3_600.0) -> int:
    """Milliseconds since the epoch, so far from now."""
    return int((time.time() + seconds) * 1_000)


def break_(mesh: Mesh, *faults: Fault, retry: Retry = NO_RETRY) -> None:
    """Publish api with these faults."""
    mesh.services[API] = Service(faults=faults, traffic=Traffic(retry=retry, outlier=NEVER))
    mesh.publish()


def test_an_abort_says_which_fault_it_is(mesh: Mesh) -> None:
    break_(mesh, Fault("default/chaos", later(), abort=418))
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        response = one(door, get())
        assert (response.status, response.reason, response.value(b"x-weft-fault")) == (418, "", b"default/chaos")
        assert response.body == b"fault default/chaos: broken on purpose\n"
    assert mesh.api.requests == []
    labels = ('destination="default/api"', 'fault="default/chaos"')
    assert mesh.metric("weft_faults_total", *labels, 'what="abort"') == 3
    assert mesh.metric("weft_fault_end_timestamp_seconds", *labels) > time.time()


def test_a_delay_is_waited_before_the_application_hears_of_it(mesh: Mesh) -> None:
    break_(mesh, Fault("default/slow", later(), delay_ms=200))
    began = time.monotonic()
    response = one(mesh.outbound(), get())
    assert time.monotonic() - began >= 0.2
    assert (response.status, response.value(b"x-weft-fault")) == (200, b"default/slow")
    assert mesh.metric("weft_faults_total", 'what="delay"', 'fault="default/slow"') == 1


def test_a_share_of_what_matches_is_broken_and_nothing_else(mesh: Mesh) -> None:
    only = Match(path=Prefix("/half"), callers=("default/web",))
    break_(mesh, Fault("default/half", later(), (only,), percent=50.0, abort=500))
    half = Counter(one(mesh.outbound(), get("/half")).status for _ in range(200))
    assert 60 <= half[500] <= 140
    assert half.keys() == {200, 500}
    assert {one(mesh.outbound(), get("/")).status for _ in range(20)} == {200}
    assert {one(mesh.inbound(caller=GUARDED), get("/half")).status for _ in range(20)} == {200}


def test_an_application_cannot_pose_as_a_fault(mesh: Mesh) -> None:

    mesh.api.script = answering(b"HTTP/1.1 500 Oh\r\nx-weft-fault: a/b\r\ncontent-length: 0\r\n\r\n")
    assert one(mesh.outbound(), get()).value(b"x-weft-fault") is None


def test_what_a_rule_retries_it_retries_for_a_fault_too(mesh: Mesh) -> None:
    retry = Retry(max=3, statuses=(503,), backoff_base_ms=1, backoff_max_ms=2)
    break_(mesh, Fault("default/often", later(), percent=30.0, abort=503), retry=retry)
    statuses = Counter(one(mesh.outbound(), get()).status for _ in range(100))
    assert statuses[200] >= 90
    assert mesh.metric("weft_retries_total", 'outcome="tried"') >= 10


def test_it_ends_by_the_engines_own_clock_whoever_has_died(tmp_path: Path) -> None:
    with running(tmp_path) as mesh:
        until = time.time() + 1.5
        break_(mesh, Fault("default/chaos", int(until * 1_000), abort=503))
        mesh.hosts[0].writer.close()
        assert one(mesh.outbound(), get()).status == 503
        while one(mesh.outbound(), get()).status == 503:
            assert time.time() < until + 1.0
            time.sleep(0.02)
        assert until <= time.time()
        assert {one(mesh.outbound(), get()).status for _ in range(10)} == {200}
        mesh.engine.kill()
        mesh.engine.start()
        response = None
        while response is None:
            try:
                response = one(mesh.outbound(), get())
            except (OSError, ValueError):
                time.sleep(0.02)
        assert response.status == 200
