"""No etcd at all: hosts find each other by multicast DNS, compile local policy, and believe certificates only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.ports import PortClaims
from registry.mdns import multicast_problem
from tests.mesh.bare import BareHost, new_ca
from tests.mesh.mesh import eventually
from tests.support import netns

ANNOUNCE = """
import asyncio, sys
from registry.announcements import Announcement
from registry.mdns import open_multicast
from registry.model import Instance, Protocol, State
from registry.names import ServiceName
async def main(address, port):
    instance = Instance(ServiceName("default", "api"), "api-evil", "vm-evil", f"{address}:{port}", 0, Protocol.HTTP, State.UP)
    async with open_multicast([address]) as multicast:
        await multicast.announce([Announcement("bare", instance)])
        print("announced", flush=True)
        await asyncio.sleep(60)
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

POLICY = """\
apiVersion: weft/v1
kind: Route
metadata: {name: api-rules, namespace: default}
spec:
  service: api
  rules:
  - name: teapot
    match: [{path: {exact: /teapot}}]
    respond: {code: 418, body: from a file}
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BareHost, BareHost]]:
    """Two hosts: in namespaces of their own where those can be made, else both on loopback."""
    directory = tmp_path_factory.mktemp("bare")
    with contextlib.ExitStack() as scope:
        ports = scope.enter_context(PortClaims())
        why_not = netns.unavailable()
        if why_not is None:
            made = scope.enter_context(netns.namespaces(2))
            places = [(one.address, one.command()) for one in made]
        else:
            print(f"on loopback instead of in network namespaces: {why_not}")
            problem = asyncio.run(multicast_problem("127.0.0.1"))
            assert problem is None, f"neither network namespaces ({why_not}) nor multicast on loopback: {problem}"
            places = [("127.0.0.1", []), ("127.0.0.1", [])]
        processes = scope.enter_context(contextlib.ExitStack())
        one, two = (
            BareHost(f"vm-{number}", address, directory / f"vm-{number}", inside, ports, processes)
            for number, (address, inside) in enumerate(places, start=1)
        )
        ca = new_ca(directory / "ca")
        for host in (one, two):
            host.start()
        one.register("web", "web-1", {"port": one.application("web-1"), "upstreams": [{"service": "api"}]})
        two.register("api", "api-1", {"port": two.application("api-1")})
        one.sign(ca, "web")
        two.sign(ca, "api")
        yield one, two


def outbound(host: BareHost) -> int:
    answer = host.register("web", "web-1", {"port": host.application("web-again"), "upstreams": [{"service": "api"}]})
    upstreams = answer["upstreams"]
    assert isinstance(upstreams, dict)
    return int(str(upstreams["api"]["url"]).rpartition(":")[2])


def test_two_hosts_find_each_other_and_call_over_mutual_tls(hosts: tuple[BareHost, BareHost]) -> None:
    one, two = hosts
    port = outbound(one)
    answer = eventually(
        "web reaches api on the other host", lambda: a if (a := one.get(port))["status"] == 200 else None, within=30
    )
    assert '"name": "api-1"' in str(answer["body"])
    assert "spiffe://bare/ns/default/dc/dc1/svc/web" in str(answer["body"]), "the other engine saw who calls"
    assert "multicast does not work" not in one.log("agent") + two.log("agent")


def test_a_policy_file_is_compiled_and_taken_back_with_its_file(hosts: tuple[BareHost, BareHost]) -> None:
    one, _ = hosts
    port = outbound(one)
    file = one.directory / "policies.d" / "api.yaml"
    file.write_text(POLICY)
    answer = eventually("the rule holds", lambda: a if (a := one.get(port, "/teapot"))["status"] == 418 else None)
    assert answer["body"] == "from a file"
    file.write_text(POLICY.replace("exact", "wxact"))
    eventually(
        "the fault is told with its place", lambda: "api.yaml" in one.log("agent") or "wxact" in one.log("agent")
    )
    assert one.get(port, "/teapot")["status"] == 418, "what it said before stays in force"
    file.unlink()
    eventually("the rule is gone", lambda: one.get(port, "/teapot")["status"] == 200)


def test_an_impostor_gets_no_request(hosts: tuple[BareHost, BareHost]) -> None:
    one, two = hosts
    port = outbound(one)
    eventually("web reaches api", lambda: one.get(port)["status"] == 200, within=30)
    with PortClaims() as ports, _listening(two, ports.claim()) as (address, evil, received):
        announcing = subprocess.Popen(
            [*two.inside, sys.executable, "-c", ANNOUNCE, address, str(evil)], stdout=subprocess.PIPE
        )
        try:
            assert announcing.stdout is not None
            assert announcing.stdout.readline() == b"announced\n"
            eventually(
                "the impostor is asked to prove itself",
                lambda: one.get(port)["status"] == 200 and any(received),
                within=20,
            )
            for _ in range(40):
                answer = one.get(port)
                assert answer["status"] == 200
                assert '"name": "api-1"' in str(answer["body"])
        finally:
            announcing.kill()
            announcing.communicate()
        assert all(data[:1] == b"\x16" for data in received if data), "nothing but TLS hellos came"
        assert not any(b"GET" in data for data in received)


def test_a_restarted_agent_takes_nothing_away(hosts: tuple[BareHost, BareHost]) -> None:
    one, _ = hosts
    port = outbound(one)
    eventually("web reaches api", lambda: one.get(port)["status"] == 200, within=30)
    assert one.agent is not None
    one.agent.kill()
    one.agent.wait()
    (one.directory / "agent.sock").unlink(missing_ok=True)
    one.start_agent()
    for _ in range(60):
        answer = one.get(port)
        assert answer["status"] == 200, answer


@contextlib.contextmanager
def _listening(host: BareHost, port: int) -> Iterator[tuple[str, int, list[bytes]]]:
    """A listener on the host that answers nothing it should; what each connection sent."""
    received: list[bytes] = []
    listener = _inside(host, port) if host.inside else socket.create_server((host.address, port))
    stop = threading.Event()

    def serve() -> None:
        listener.settimeout(0.2)
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(2)
                with contextlib.suppress(OSError):
                    received.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstole")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield host.address, port, received
    finally:
        stop.set()
        thread.join()
        listener.close()


def _inside(host: BareHost, port: int) -> socket.socket:
    """A listening socket made in the host's namespace, brought here by SCM_RIGHTS."""
    ours, theirs = socket.socketpair()
    script = (
        "import socket, sys; "
        "s = socket.create_server((sys.argv[1], int(sys.argv[2]))); "
        "socket.send_fds(socket.socket(fileno=int(sys.argv[3])), [b'x'], [s.fileno()])"
    )
    with ours, theirs:
        done = subprocess.run(
            [*host.inside, sys.executable, "-c", script, host.address, str(port), str(theirs.fileno())],
            pass_fds=[theirs.fileno()], check=False, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=descriptors[0])


def test_a_host_says_why_multicast_does_not_work(tmp_path: Path) -> None:
    with PortClaims() as ports, contextlib.ExitStack() as scope:
        host = BareHost("vm-9", "127.0.0.1", tmp_path / "vm-9", [], ports, scope)
        config = host.directory / "agent.toml"
        config.write_text(config.read_text().replace('interfaces = ["127.0.0.1"]', 'interfaces = ["203.0.113.9"]'))
        host.start_agent()
        eventually("it says so", lambda: "203.0.113.9" in host.log("agent") and "multicast" in host.log("agent"))
