"""What a machine runs out of: descriptors, disk, memory. The engine answers 503 or waits, stays calm, and recovers in 2 s."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from policy.compiled import Respond, Retry, Route, Service, Traffic
from tests.engine.application import Talk
from tests.engine.client import Door, Wire, ask, get
from tests.engine.mesh import API, Mesh, running
from tests.support.engine import EngineProcess

RECOVERY = 2.0
WITHIN = 15.0
ONCE = Service(traffic=Traffic(retry=Retry(max=0)))
OPEN = "weft_connections{"
TICKS = os.sysconf("SC_CLK_TCK")


def burnt(engine: EngineProcess) -> float:
    """Seconds of CPU that it has used."""
    fields = Path(f"/proc/{engine.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def is_calm(engine: EngineProcess, *, for_seconds: float = 0.5) -> bool:
    """Whether it uses less than half of a core."""
    before, began = burnt(engine), time.monotonic()
    time.sleep(for_seconds)
    return (burnt(engine) - before) / (time.monotonic() - began) < 0.5


def assert_calm(engine: EngineProcess) -> None:
    """What there was to do is done on a busy machine too, and after that it does not spin."""
    soon(lambda: is_calm(engine), within=WITHIN)
    assert is_calm(engine, for_seconds=1)


def descriptors(engine: EngineProcess) -> int:
    """How many it has."""
    return len(os.listdir(f"/proc/{engine.pid}/fd"))


def soon(holds: Callable[[], bool], *, within: float = RECOVERY) -> None:
    """Until it holds."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, f"not within {within} s"
        time.sleep(0.01)


def serves(door: Door, status: int = 200) -> bool:
    """Whether a new connection is answered so."""
    with suppress(OSError, EOFError):
        return [response.status for response in ask(door, get())] == [status]
    return False


def listening(wires: Sequence[Wire]) -> Callable[[], list[bytes]]:
    """A function that says what was answered so far: a status line's code, or nothing."""
    codes = [b"" for _ in wires]
    for wire in wires:
        wire.socket.setblocking(False)

    def hear() -> list[bytes]:
        for number, wire in enumerate(wires):
            if not codes[number]:
                with suppress(BlockingIOError, ConnectionError):
                    codes[number] = wire.socket.recv(64)[9:12]
        return codes

    return hear


@pytest.fixture
def many() -> Iterator[int]:
    """A thousand sockets for this process, where it may have them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip(f"this process may have {hard} descriptors only, and a thousand clients need 2,500")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    yield 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def limited(engine: EngineProcess, most: int) -> Iterator[None]:
    """So many descriptors for the engine."""
    soft, hard = resource.prlimit(engine.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (most, hard))
    try:
        yield
    finally:
        resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_clients_of_an_engine_with_256_descriptors_are_answered_or_wait(tmp_path: Path, many: int) -> None:
    with running(tmp_path, hosts=2, instances=("api-2",)) as mesh:
        mesh.services[API] = ONCE
        mesh.endpoints[API] = (mesh.endpoint("api-2", host=1),)
        mesh.publish()
        with limited(mesh.engine, 256), ExitStack() as stack:
            wires = []
            for _ in range(many):
                wire = Wire(mesh.outbound())
                stack.callback(wire.close)
                wire.send(get())
                wires.append(wire)
            hear = listening(wires)
            soon(lambda: b"200" in hear(), within=WITHIN)
            # Those that are let in are answered; the others wait, and cost nothing.
            assert_calm(mesh.engine)
            assert set(hear()) <= {b"200", b"503", b""}
            assert hear().count(b"") > 500
            stack.close()
            soon(lambda: serves(mesh.outbound()))
        assert ejections(mesh) == 0


def test_a_request_that_finds_no_descriptor_for_its_upstream_is_answered_503_and_blames_nobody(tmp_path: Path) -> None:
    with running(tmp_path, hosts=2, instances=("api-2",)) as mesh:
        mesh.endpoints[API] = (mesh.endpoint("api-2", host=1),)
        mesh.publish()
        with ExitStack() as stack:
            wires = [stack.enter_context(opened(mesh.outbound())) for _ in range(12)]
            soon(lambda: metric(mesh, OPEN, "outbound") == len(wires), within=WITHIN)
            most = descriptors(mesh.engine) + 8
            with limited(mesh.engine, most):
                # More than have room: whatever becomes free is taken by one that waits.
                for _ in range(24):
                    stack.enter_context(opened(mesh.outbound()))
                soon(lambda: descriptors(mesh.engine) >= most, within=WITHIN)
                for wire in wires:
                    wire.send(get())
                    (response,) = wire.until(1)
                    assert (response.status, response.reason) == (503, "overloaded")
                assert_calm(mesh.engine)
            for wire in wires:
                wire.send(get())
                assert wire.until(1)[0].status == 200
        assert ejections(mesh) == 0


def test_a_full_disk_costs_the_copy_on_disk_and_nothing_else(tmp_path: Path) -> None:
    with small_disk(tmp_path / "h0" / "engine"), running(tmp_path) as mesh:
        state = tmp_path / "h0" / "engine"
        soon(lambda: any(state.glob("snapshot.*")))
        fill(state / "ballast")
        teapot = replace(Service(), routes=(Route("a/b", 0, Respond(code=418)),))
        mesh.services[API] = teapot
        mesh.publish()
        assert serves(mesh.outbound(), 418)
        soon(lambda: "cannot be written to disk" in mesh.engine.log.read_text(), within=5)
        assert_calm(mesh.engine)
        assert serves(mesh.outbound(), 418)
        (state / "ballast").unlink()
        # What could not be written is written when there is room again, without a further change.
        served = mesh.hosts[0].writer.client.served
        assert served is not None
        soon(lambda: any(f'"generation":{served.generation}' in one for one in manifests(state)), within=RECOVERY)
        mesh.hosts[0].writer.close()
        mesh.engine.kill()
        mesh.engine.start()
        soon(lambda: serves(mesh.outbound(), 418), within=WITHIN)
        mesh.engine.kill()


def test_with_96_mib_of_memory_twice_the_load_is_answered_or_waits(tmp_path: Path) -> None:
    body = b"a" * (256 * 1024)

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    with running(tmp_path) as mesh, memory_group(96 * 1024 * 1024) as join:
        mesh.api.script = script
        # A debug build on a busy machine needs its time for so many handshakes at once.
        mesh.services[API] = Service(traffic=Traffic(connect_timeout_ms=15_000))
        mesh.publish()
        join(mesh.engine.pid)
        with ExitStack() as stack:
            wires = [stack.enter_context(opened(mesh.outbound())) for _ in range(300)]
            for wire in wires:
                wire.send(get() * 2)
            hear = listening(wires)
            soon(lambda: b"200" in hear(), within=WITHIN)
            assert_calm(mesh.engine)
            assert set(hear()) <= {b"200", b"503", b""}
        mesh.api.hang_up()
        soon(lambda: serves(mesh.outbound()))


@contextmanager
def opened(door: Door) -> Iterator[Wire]:
    """A connection that reads little at a time."""
    wire = Wire(door)
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    try:
        yield wire
    finally:
        wire.close()


def ejections(mesh: Mesh) -> int:
    """Endpoints and hosts that were taken out of rotation."""
    return metric(mesh, "weft_ejections_total", "ejected")


def metric(mesh: Mesh, name: str, label: str) -> int:
    """The sum of the caller's engine's series of that name which have the label."""
    host, port = mesh.engine.admin.split(":")
    with socket.create_connection((host, int(port)), timeout=WITHIN) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    lines = [line for line in text.splitlines() if line.startswith(name) and label in line]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


def manifests(state: Path) -> list[str]:
    """What the manifests say; one that is being replaced says nothing."""
    found = []
    for path in state.glob("manifest.*"):
        with suppress(FileNotFoundError):
            found.append(path.read_text())
    return found


def fill(path: Path) -> None:
    """Until not a byte more goes in."""
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(b"\0" * 4096)


@contextmanager
def small_disk(at: Path) -> Iterator[None]:
    """A file system of its own there, of one MiB."""
    at.mkdir(parents=True, mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", at], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


@contextmanager
def memory_group(most: int) -> Iterator[Callable[[int], None]]:
    """A control group with so much memory; what it yields puts a process in."""
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    root, bound = ("/sys/fs/cgroup", "memory.max") if v2 else ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    group = Path(root) / f"weft-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    try:
        try:
            (group / bound).write_text(str(most))
        except OSError as error:
            pytest.skip(f"a control group's memory cannot be bounded here: {error}")
        yield lambda pid: void((group / "cgroup.procs").write_text(str(pid)))
    finally:
        # Whoever is still in it goes back first: a group that is not empty stays.
        with suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                (Path(root) / "cgroup.procs").write_text(pid)
        group.rmdir()


def void(_: object) -> None:
    """For its effect."""
