"""The control socket and the disk: what is wrong is named, and nothing that serves stops serving."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from policy.compiled import Match, Prefix, Regex, Respond, Route, Service
from proxy import frames, sections
from proxy.frames import Ack, FromEngine, Nack, Welcome
from tests.engine.client import ask, get
from tests.engine.mesh import API, GUARDED, WEB, Mesh, Writer, running

WITHIN = 15.0


class Agent:
    """A connection to the control socket that says anything."""

    def __init__(self, mesh: Mesh) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WITHIN)
        self._socket.connect(str(mesh.engine.socket))

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self._socket.sendall(data)

    def say(self, kind: str, **fields: object) -> FromEngine | None:
        """A frame, and the answer to it; None: the connection has ended."""
        self.send(frames.encode(kind, fields))
        return self.hear()

    def hear(self) -> FromEngine | None:
        """The next frame; None at the end."""
        head = self._exactly(4)
        if head is None:
            return None
        body = self._exactly(struct.unpack(">I", head)[0])
        return None if body is None else frames.decode(body)

    def hello(self) -> Welcome:
        """Become the agent."""
        welcome = self.say("hello", schema=sections.SCHEMA, agent="second")
        assert isinstance(welcome, Welcome)
        return welcome

    def apply(self, base: int, generation: int, **fields: object) -> Ack | Nack:
        """An apply and its answer."""
        rest: dict[str, object] = {"policy": 0, "registry": 0, "reset": False, "set": {}, "delete": []}
        answer = self.say("apply", base=base, generation=generation, **{**rest, **fields})
        assert isinstance(answer, Ack | Nack)
        return answer

    def ended(self) -> bool:
        """Whether the engine hung up, whatever it said before."""
        while (frame := self.hear()) is not None:
            assert isinstance(frame, Nack)
        return True

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            try:
                chunk = self._socket.recv(count - len(data))
            except ConnectionError:
                return None
            if not chunk:
                return None
            data += chunk
        return data


@contextmanager
def traffic(mesh: Mesh) -> Iterator[None]:
    """Requests one after another all the while; every one is answered by the application."""
    stop = threading.Event()
    wrong: list[str] = []
    count = 0

    def call() -> None:
        nonlocal count
        while not stop.is_set():
            try:
                (response,) = ask(mesh.outbound(), get("/traffic"))
                if response.status != 200:
                    wrong.append(f"{response.status} {response.reason} {response.body!r}")
            except (OSError, ValueError) as error:
                wrong.append(repr(error))
            count += 1

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(WITHIN)
    assert wrong == []
    assert count > 0


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 20])
def test_a_frame_that_is_cut_off_changes_nothing(mesh: Mesh, cut: int) -> None:
    frame = frames.encode("hello", {"schema": sections.SCHEMA, "agent": "torn"})
    with traffic(mesh), Agent(mesh) as agent:
        agent.send(frame[:cut])
    assert mesh.hosts[0].writer.client.welcome is not None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 100 * 1024 * 1024),
        struct.pack(">I", 0xFFFFFFFF) + b"a" * 1000,
        struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1",
        struct.pack(">I", 0),
        struct.pack(">I", 1) + b"\x80",
        frames.encode("nonsense", {}),
        frames.encode("hello", {"schema": "one", "agent": 1}),
        frames.encode("hello", {"schema": 1}),
        frames.encode("apply", {"base": 0}),
        struct.pack(">I", 3) + b"\x80\x80\x80",
    ],
    ids=["100 MB", "4 GB", "no msgpack", "empty", "empty map", "unknown", "wrong types", "missing", "half", "surplus"],
)
def test_what_is_no_frame_is_named_and_ends_its_connection(mesh: Mesh, data: bytes) -> None:
    with traffic(mesh), Agent(mesh) as agent:
        agent.send(data)
        answer = agent.hear()
        assert isinstance(answer, Nack)
        assert (answer.code, answer.message != "") == ("bad_frame", True)
        assert agent.ended()
    mesh.publish()


def test_nobody_changes_anything_before_hello(mesh: Mesh) -> None:
    fields = {"base": 0, "generation": 1, "policy": 0, "registry": 0, "reset": True, "set": {}, "delete": []}
    with traffic(mesh), Agent(mesh) as agent:
        answer = agent.say("apply", **fields)
        assert isinstance(answer, Nack)
        assert agent.ended()


def test_an_agent_of_another_schema_is_told_ours(mesh: Mesh) -> None:
    with traffic(mesh), Agent(mesh) as agent:
        welcome = agent.say("hello", schema=99, agent="newer")
        assert isinstance(welcome, Welcome)
        assert welcome.schema == sections.SCHEMA
    mesh.publish()


def test_a_wrong_base_is_told_to_rebase(mesh: Mesh) -> None:
    with traffic(mesh), Agent(mesh) as agent:
        base = agent.hello().base
        for wrong in (base + 1, base - 1, 0):
            answer = agent.apply(wrong, base + 5, delete=[sections.service(API)])
            assert isinstance(answer, Nack)
            assert (answer.code, answer.generation) == ("rebase", base + 5)
        assert agent.apply(base, base + 1) == Ack(base + 1)


def test_a_newer_agent_takes_over_and_the_older_is_hung_up(mesh: Mesh) -> None:
    with traffic(mesh), Agent(mesh) as first:
        first.hello()
        with Agent(mesh) as second:
            second.hello()
            assert first.ended()
            base = second.hello().base
            assert second.apply(base, base + 1) == Ack(base + 1)
    mesh.publish()


SECTIONS: dict[str, tuple[str, bytes]] = {
    "no msgpack": (sections.service(API), b"\xc1"),
    "empty": (sections.service(API), b""),
    "another kind": (sections.service(API), sections.encode(sections.Inbound("127.0.0.1:1"))),
    "surplus": (sections.service(API), sections.encode(Service()) + b"\x80"),
    "unknown section": ("surprise/api", b"\x80"),
    "no name": ("service/", sections.encode(Service())),
    "bad regex": (
        sections.service(API),
        sections.encode(Service(routes=(Route("a/b", 0, Respond(code=200), (Match(path=Regex("(")),)),))),
    ),
    "bad status": (
        sections.service(API),
        sections.encode(Service(routes=(Route("a/b", 0, Respond(code=99), (Match(path=Prefix("/")),)),))),
    ),
    "bad address": (sections.INBOUND, sections.encode(sections.Inbound("nowhere"))),
    "unknown gateway": (sections.public("x"), sections.encode(sections.Public("127.0.0.1:1", "nobody", "x"))),
    "bad caller": (
        sections.outbound(WEB, API),
        sections.encode(sections.Outbound("127.0.0.1:1", "Not A Name", "default/api")),
    ),
    "bad endpoint": (
        sections.endpoints(API),
        sections.encode(sections.Endpoints((sections.Endpoint("api-1", "h", "nowhere", 1, 1, "", {}, "up"),))),
    ),
}


@pytest.mark.parametrize("case", SECTIONS)
def test_a_section_that_is_wrong_is_named_and_the_whole_apply_is_not_in_force(mesh: Mesh, case: str) -> None:
    name, value = SECTIONS[case]
    answers = sections.encode(Service(routes=(Route("a/b", 0, Respond(code=418), (Match(path=Prefix("/")),)),)))
    with traffic(mesh), Agent(mesh) as agent:
        base = agent.hello().base
        # A good change beside the wrong one is not taken either.
        answer = agent.apply(base, base + 1, set={name: value, sections.service(GUARDED): answers})
        assert isinstance(answer, Nack)
        assert (answer.section, answer.generation) == (name, base + 1)
        assert answer.code
        assert answer.message
        assert [response.status for response in ask(mesh.outbound(GUARDED), get("/secret"))] == [403]
        assert agent.apply(base, base + 1) == Ack(base + 1)
    mesh.publish()


def test_a_refused_section_holds_back_nothing_else(mesh: Mesh) -> None:
    snapshot = mesh.snapshot()
    snapshot[sections.service(API)] = Service(routes=(Route("a/b", 0, Respond(code=99), (Match(path=Prefix("/")),)),))
    snapshot[sections.service(GUARDED)] = Service()
    with traffic(mesh):
        served = mesh.hosts[0].writer.apply(snapshot)
        assert [refusal.section for refusal in served.refused] == [sections.service(API)]
        assert [response.status for response in ask(mesh.outbound(GUARDED), get("/secret"))] == [200]
    mesh.publish()


def test_a_port_that_is_taken_is_named(mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Agent(mesh) as agent:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        base = agent.hello().base
        listener = sections.Outbound(address, str(WEB), str(API))
        with traffic(mesh):
            answer = agent.apply(base, base + 1, set={"listener/taken": sections.encode(listener)})
        assert isinstance(answer, Nack)
        assert (answer.section, answer.code) == ("listener/taken", "bind_failed")
    mesh.publish()


def test_requests_flow_while_everything_is_applied_again_and_again(mesh: Mesh) -> None:
    with traffic(mesh):
        for number in range(50):
            mesh.services[GUARDED] = Service(routes=(Route(f"a/{number}", 0, Respond(code=200)),))
            mesh.endpoints[API] = (mesh.endpoint("api-1"),)
            mesh.publish()


class TestDisk:
    """An engine that was killed and what it finds."""

    @pytest.fixture
    def saved(self, tmp_path: Path) -> Iterator[Mesh]:
        """An engine with two generations on disk, dead; the older serves api with 418, the newer with its application."""
        with running(tmp_path) as mesh:
            mesh.services[API] = Service(routes=(Route("a/b", 0, Respond(code=418)),))
            mesh.publish()
            self.settled(mesh)
            mesh.services[API] = Service()
            mesh.publish()
            self.settled(mesh)
            mesh.hosts[0].writer.close()
            mesh.engine.kill()
            yield mesh

    @staticmethod
    def settled(mesh: Mesh) -> None:
        """Wait until the newest manifest names the generation served."""
        served = mesh.hosts[0].writer.client.served
        assert served is not None
        until = time.monotonic() + WITHIN
        while saved_generation(mesh) != served.generation:
            assert time.monotonic() < until, "it is not saved"
            time.sleep(0.005)

    def test_it_serves_what_it_saved(self, saved: Mesh) -> None:
        saved.engine.start()
        assert answered(saved) == 200

    @pytest.mark.parametrize("part", ["manifest", "snapshot", "keys"])
    @pytest.mark.parametrize("harm", ["torn", "flipped", "empty", "gone", "surplus"])
    def test_a_harmed_generation_gives_way_to_the_one_before(self, saved: Mesh, part: str, harm: str) -> None:
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

    def test_with_both_generations_harmed_it_waits_for_an_agent(self, saved: Mesh) -> None:
        for path in state(saved).glob("snapshot.*"):
            path.write_bytes(b"")
        saved.engine.start()
        with Writer(saved.engine.socket) as writer:
            # Identities belong to a realm, which the host section names.
            writer.apply({sections.HOST: saved.snapshot()[sections.HOST]})
            writer.identify(saved.credentials(), saved.trust())
            writer.apply(saved.snapshot())
            assert answered(saved) == 200

    def test_its_files_are_its_owners_alone(self, saved: Mesh) -> None:
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
