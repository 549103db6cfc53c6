"""An engine that was killed serves what it saved last that is whole."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy.compiled import Respond, Route, Service
from proxy import sections
from tests.engine.client import ask, get
from tests.engine.mesh import API, Mesh, Writer, running

WITHIN = 15.0


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[Mesh]:
    """An engine with two generations on disk, dead; the older serves api with 418, the newer with its application."""
    with running(tmp_path) as mesh:
        mesh.services[API] = Service(routes=(Route("a/b", 0, Respond(code=418)),))
        mesh.publish()
        settled(mesh)
        mesh.services[API] = Service()
        mesh.publish()
        settled(mesh)
        mesh.hosts[0].writer.close()
        mesh.engine.kill()
        yield mesh


def settled(mesh: Mesh) -> None:
    """Wait until the newest manifest names the generation served, and a crash would be counted for it."""
    served = mesh.hosts[0].writer.client.served
    assert served is not None
    until = time.monotonic() + WITHIN
    while saved_generation(mesh) != served.generation or blamed(mesh) != newest(mesh, "manifest").suffix:
        assert time.monotonic() < until, "it is not saved"
        time.sleep(0.005)


def test_it_serves_what_it_saved(saved: Mesh) -> None:
    saved.engine.start()
    assert answered(saved) == 200


@pytest.mark.parametrize("part", ["manifest", "snapshot", "keys"])
@pytest.mark.parametrize("harm", ["torn", "flipped", "empty", "gone", "surplus"])
def test_a_harmed_generation_gives_way_to_the_one_before(saved: Mesh, part: str, harm: str) -> None:
    path = newest(saved, part)
    data = bytearray(path.read_bytes())
    match harm:
        case "torn":
            path.write_bytes(data[: len(data) // 2])
        case "flipped":
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
        case _:
            path.write_bytes(data + b"\x00")
    saved.engine.start()
    assert answered(saved) == 418


def test_with_both_generations_harmed_it_waits_for_an_agent(saved: Mesh) -> None:
    for path in state(saved).glob("snapshot.*"):
        path.write_bytes(b"")
    saved.engine.start()
    with Writer(saved.engine.socket) as writer:
        # Identities belong to a realm, which the host section names.
        writer.apply({sections.HOST: saved.snapshot()[sections.HOST]})
        writer.identify(saved.credentials(), saved.trust())
        writer.apply(saved.snapshot())
        assert answered(saved) == 200


def test_a_state_that_crashed_the_engine_three_times_gives_way_and_is_refused_by_name(saved: Mesh) -> None:
    for _ in range(2):  # the first time it died was in the fixture
        saved.engine.start()
        assert answered(saved) == 200
        saved.engine.kill()
    saved.engine.start()
    assert answered(saved) == 418, "the generation before"
    with Writer(saved.engine.socket) as writer:
        served = writer.apply(saved.snapshot())
        assert [(one.section, one.code) for one in served.refused] == [(sections.service(API), "crashed")]
        writer.wait(lambda: writer.client.notes != ())
        assert "crashed it three times" in "".join(writer.client.notes)
        assert answered(saved) == 403, "an agent that knows no older one denies"
        mended = {**saved.snapshot(), sections.service(API): Service(routes=(Route("a/c", 0, Respond(code=204)),))}
        assert writer.apply(mended).refused == ()
        assert answered(saved) == 204, "what has changed is taken"
    metrics = urllib.request.urlopen(f"http://{saved.engine.admin}/metrics", timeout=WITHIN).read().decode()
    assert 'weft_state_fell_back{why="crashed"} 1' in metrics


def test_an_end_in_order_is_no_crash(saved: Mesh) -> None:
    for _ in range(4):
        saved.engine.start()
        assert answered(saved) == 200
        saved.engine.kill(signal.SIGTERM)


def test_a_port_that_was_taken_meanwhile_costs_itself_only(saved: Mesh) -> None:
    with socket.create_server(("127.0.0.1", saved.gateway().port)):
        saved.engine.start()
        assert answered(saved) == 200
    with Writer(saved.engine.socket) as writer:
        writer.apply(saved.snapshot())
    (response,) = ask(saved.gateway(), get())
    assert response.status == 200, "the next agent asks for it again"


def test_its_files_are_its_owners_alone(saved: Mesh) -> None:
    assert state(saved).stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in state(saved).iterdir()} == {0o600}


def state(mesh: Mesh) -> Path:
    """The engine's directory."""
    return mesh.engine.socket.parent / "engine"


def saved_generation(mesh: Mesh) -> int | None:
    """What the newest manifest names; None where it is just being replaced."""
    try:
        return int(json.loads(newest(mesh, "manifest").read_text().splitlines()[0])["generation"])
    except (FileNotFoundError, ValueError):
        return None


def blamed(mesh: Mesh) -> str:
    """The suffix of the files that a crash would be counted for."""
    try:
        return f".{json.loads((state(mesh) / 'serving').read_text())['number']:020}"
    except FileNotFoundError:
        return ""


def newest(mesh: Mesh, part: str) -> Path:
    """The newest file of a part; numbers are padded, so that names are in order."""
    return max(state(mesh).glob(f"{part}.[0-9]*"))


def answered(mesh: Mesh) -> int:
    """The first answer of an engine that was just started."""
    until = time.monotonic() + WITHIN
    while True:
        try:
            (response,) = ask(mesh.outbound(), get())
            return response.status
        except ConnectionRefusedError:
            assert time.monotonic() < until, mesh.engine.log.read_text()[-2000:]
            time.sleep(0.005)
