"""What an engine says in numbers, as real scrapers read it: complete, true with several workers, and bounded whoever calls."""

from __future__ import annotations

import os
import random
import string
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.engine.application import Talk
from tests.engine.client import Door, ask, connected, get
from tests.engine.mesh import Mesh, running
from tests.support.engine import EngineProcess

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
WITHIN = 10.0

MANY = 260
"""More than the requests of a bucket of which one is kept."""
HOSTILE = 100_000 if os.environ.get("WEFT_SOAK") else 4_000
ROUND = 50


def scrape(engine: EngineProcess, accept: str = "text/plain") -> tuple[str, str]:
    """Content type and text."""
    request = urllib.request.Request(f"http://{engine.admin}/metrics", headers={"Accept": accept})
    with closing(urllib.request.urlopen(request, timeout=WITHIN)) as answer:
        return answer.headers["content-type"], answer.read().decode()


def families(engine: EngineProcess, accept: str = "text/plain") -> Mapping[str, Metric]:
    """By name, read by the parser for what was answered."""
    kind, text = scrape(engine, accept)
    if kind.startswith("application/openmetrics-text"):
        assert text.endswith("\n# EOF\n")
        opened = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        return {family.name: family for family in opened}
    assert "# EOF" not in text
    return {family.name: family for family in text_string_to_metric_families(text)}


def total(engine: EngineProcess, family: str, sample: str, accept: str = "text/plain", **labels: str) -> float:
    """The sum of the samples that have these labels."""
    found = families(engine, accept)[family].samples
    return sum(one.value for one in found if one.name == sample and labels.items() <= one.labels.items())


def soon(expected: float, engine: EngineProcess, family: str, sample: str, **labels: str) -> None:
    """Counting comes after answering."""
    until = time.monotonic() + WITHIN
    while (found := total(engine, family, sample, **labels)) != expected:
        assert time.monotonic() < until, f"{sample} {labels}: {found}, not {expected}"
        time.sleep(0.01)


def requests(engine: EngineProcess, expected: float, **labels: str) -> None:
    """So many requests are counted."""
    soon(expected, engine, "weft_requests", "weft_requests_total", **labels)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One engine with four workers."""
    with running(tmp_path_factory.mktemp("four"), workers=4) as mesh:
        yield mesh


def test_both_texts_are_read_by_real_parsers_and_say_the_same(mesh: Mesh) -> None:
    ask(mesh.outbound(), get("/"), b"GET")
    requests(mesh.engine, 1, direction="inbound", code="200")
    plain, opened = families(mesh.engine), families(mesh.engine, OPENMETRICS)
    assert {name for name, family in plain.items() if family.type == "counter"} == {
        name for name, family in opened.items() if family.type == "counter"
    }
    assert scrape(mesh.engine, OPENMETRICS)[0] == f"{OPENMETRICS}; charset=utf-8"
    counted = {frozenset(one.labels.items()): one.value for one in plain["weft_requests"].samples}
    again = [one for one in opened["weft_requests"].samples if one.name.endswith("_total")]
    assert counted == {frozenset(one.labels.items()): one.value for one in again}
    created = [one for one in opened["weft_requests"].samples if one.name.endswith("_created")]
    assert len(created) == len(again)
    assert all(abs(one.value - time.time()) < 600 for one in created)


def test_a_request_is_counted_by_everything_that_tells_requests_apart(mesh: Mesh) -> None:
    ask(mesh.outbound(), get("/a", method="POST", body=b"x"), b"POST")
    out = {"direction": "outbound", "source": "default/web", "destination": "default/api"}
    requests(mesh.engine, 1, **out, method="POST", code="200", reason="")
    requests(mesh.engine, 1, direction="inbound", source="default/web", destination="default/api", method="POST")
    for family in ("weft_request_duration_seconds", "weft_request_first_byte_seconds"):
        labels = {"direction": "outbound", "destination": "default/api", "code_class": "2xx"}
        assert total(mesh.engine, family, f"{family}_count", **labels) >= 1
        buckets = total(mesh.engine, family, f"{family}_bucket", **labels, le="+Inf")
        assert buckets == total(mesh.engine, family, f"{family}_count", **labels)


def test_a_bucket_has_an_exemplar_with_the_trace_that_the_application_saw(mesh: Mesh) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = get("/", f"traceparent: 00-{trace}-00f067aa0ba902b7-01")
    ask(mesh.outbound(), traced, b"GET")
    until = time.monotonic() + WITHIN
    while True:
        samples = families(mesh.engine, OPENMETRICS)["weft_request_duration_seconds"].samples
        found = [one for one in samples if one.exemplar and one.exemplar.labels == {"trace_id": trace}]
        if {one.labels["direction"] for one in found} == {"outbound", "inbound"}:
            break
        # A bucket keeps its first requests, then one in many.
        ask(mesh.outbound(), traced * MANY, *[b"GET"] * MANY)
        assert time.monotonic() < until
    kept = [one.exemplar for one in found]
    assert all(one is not None and 0 < one.value < WITHIN and one.timestamp is not None for one in kept)


def test_what_the_engine_serves_and_is_made_of_stands_there(mesh: Mesh) -> None:
    ask(mesh.outbound(), get("/"), b"GET")
    plain = families(mesh.engine)
    build = plain["weft_build_info"].samples[0].labels
    assert build["version"]
    assert build["schema"]
    ends = {one.labels["identity"]: one.value for one in plain["weft_certificate_end_seconds"].samples}
    assert ends.keys() == {"default/web", "default/api", "default/guarded", "gateway:edge"}
    assert all(time.time() < end < time.time() + 2 * 3600 for end in ends.values())
    assert 0 <= plain["weft_config_age_seconds"].samples[0].value < 600
    assert plain["weft_agent_connected"].samples[0].value == 1
    served = mesh.hosts[0].writer.client.served
    assert served is not None
    assert plain["weft_policy_revision"].samples[0].value == served.policy
    states = {
        one.labels["state"]: one.value
        for one in plain["weft_endpoints"].samples
        if one.labels["destination"] == "default/api"
    }
    assert states == {"in_use": 1, "ejected": 0, "unusable": 0}
    assert plain["process_resident_memory_bytes"].samples[0].value > 1_000_000
    assert plain["process_cpu_seconds"].samples[0].value > 0
    assert abs(plain["process_start_time_seconds"].samples[0].value - time.time()) < 600
    done = {(one.labels["direction"], one.labels["resumed"]): one.value for one in plain["weft_tls_handshakes"].samples}
    assert done["outbound", "no"] >= 1
    assert done["inbound", "no"] >= 1


def test_connections_that_are_open_are_counted_while_they_are(mesh: Mesh) -> None:
    with connected(mesh.outbound()) as wire:
        wire.send(get("/"))
        wire.until(1, b"GET")
        soon(1, mesh.engine, "weft_connections", "weft_connections", direction="outbound")
    soon(0, mesh.engine, "weft_connections", "weft_connections", direction="outbound")


def test_whoever_calls_cannot_make_series_or_memory_grow(mesh: Mesh) -> None:
    rng = random.Random(7)

    def word(letters: str) -> str:
        return "".join(rng.choices(letters, k=rng.randint(3, 12)))

    def hostile() -> bytes:
        host = f"{word(string.ascii_lowercase)}.test"
        method, path = word(string.ascii_uppercase), f"/{word(string.ascii_letters + string.digits)}"
        caller = f"x-weft-caller: spiffe://x/ns/{word(string.ascii_lowercase)}"
        return f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{caller}\r\n\r\n".encode()

    def storm(door: Door, count: int) -> None:
        with connected(door) as wire:
            for _ in range(count // ROUND):
                wire.send(b"".join(hostile() for _ in range(ROUND)))
                wire.until(ROUND, *[b"X"] * ROUND)

    doors = (mesh.outbound(), mesh.gateway())
    before = total(mesh.engine, "weft_requests", "weft_requests_total", direction="inbound")
    for door in doors:
        storm(door, 10 * ROUND)
    lines = scrape(mesh.engine)[1].count("\n")
    resident = mesh.engine.resident
    for door in doors:
        storm(door, HOSTILE // 2)
    requests(mesh.engine, before + HOSTILE + 20 * ROUND, direction="inbound")
    assert scrape(mesh.engine)[1].count("\n") <= lines + 10
    assert mesh.engine.resident < resident + 8 * 1024 * 1024


def test_with_four_workers_every_request_is_counted_once(four: Mesh) -> None:
    for _ in range(40):
        ask(four.outbound(), get("/"), b"GET")
    requests(four.engine, 40, direction="outbound", code="200")
    requests(four.engine, 40, direction="inbound", code="200")
    family = "weft_request_duration_seconds"
    assert total(four.engine, family, f"{family}_count", OPENMETRICS, direction="outbound") == 40


@pytest.mark.skipif(not os.environ.get("WEFT_SOAK"), reason="thousands of requests: WEFT_SOAK=1")
def test_ten_thousand_series_are_the_most_and_are_scraped_in_a_second(four: Mesh) -> None:
    def status(talk: Talk) -> None:
        while (request := talk.request()) is not None:
            code = request.target.rpartition(b"/")[2]
            talk.send(b"HTTP/1.1 " + code + b" X\r\ncontent-length: 0\r\n\r\n")

    # Connections that are kept would go on with the script they began with.
    four.reset()
    four.api.script = status
    for door in (four.outbound(), four.gateway()):
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "OTHER"):
            _all_codes(door, method)
    until = time.monotonic() + WITHIN
    while 'route="overflow"' not in scrape(four.engine)[1]:
        assert time.monotonic() < until
        time.sleep(0.01)
    began = time.monotonic()
    text = scrape(four.engine, OPENMETRICS)[1]
    took = time.monotonic() - began
    apart = [line for line in text.splitlines() if line.startswith("weft_requests_total{")]
    assert 10_000 < len(apart) < 10_100
    assert took < 1.0
    four.reset()


def _all_codes(door: Door, method: str) -> None:
    with connected(door) as wire:
        for first in range(200, 600, ROUND):
            codes = range(first, first + ROUND)
            wire.send(b"".join(get(f"/{code}", method=method) for code in codes))
            wire.until(ROUND, *[method.encode()] * ROUND)
