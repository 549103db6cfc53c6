"""The commands against a real etcd: what they write, what they print where, and their exit codes."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from ops.cli.app import run
from ops.cli.report import report
from policy import compiled, records
from policy.records import ControllerStatus, DocumentStatus, Problem
from policy.rollout import Ack, Refused, Served
from registry import keys, layout
from registry.etcd import EtcdConfig, EtcdStore
from registry.keys import DocumentKey
from registry.model import Host, Instance, Protocol, State
from registry.names import ServiceName, SpiffeId
from registry.pki import certificates, requests, roster, trust
from registry.pki.trust import TrustBundle
from registry.records import encode_host, encode_instance
from registry.store import Item, Listing, Revision, Store

T = TypeVar("T")

ROUTE = """\
# where api goes
apiVersion: weft/v1
kind: Route
metadata: {name: api-split}
spec:
  service: api
  rules:
  - {name: all, to: [{service: api}]}
"""
BROKEN = """\
apiVersion: weft/v1
kind: Route
metadata: {name: broken}
spec:
  service: api
  rules:
  - {name: all, to: [{service: api, wieght: 3}]}
"""


@dataclass
class Shell:
    """`weft` as a person types it against one etcd."""

    config: EtcdConfig
    capsys: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def weft(self, *arguments: str) -> int:
        """Run it; what it printed is in `out` and `err`."""
        place = ["--etcd", self.config.endpoints[0], "--root", self.config.root]
        self.capsys.readouterr()
        code = run([*arguments, *place])
        self.out, self.err = self.capsys.readouterr()
        return code

    def store(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Something done to the store."""

        async def act() -> T:
            store = await EtcdStore.connect(self.config)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(act())

    def put(self, **values: bytes) -> None:
        """Keys, `__` for a slash."""

        async def write(store: Store) -> None:
            for key, value in values.items():
                await store.put(key.replace("__", "/"), value)

        self.store(write)


@pytest.fixture
def shell(etcd_config: EtcdConfig, capsys: pytest.CaptureFixture[str]) -> Shell:
    """On an empty root."""
    return Shell(etcd_config, capsys)


@pytest.fixture
def route(tmp_path: Path) -> str:
    """A file with a document."""
    file = tmp_path / "route.yaml"
    file.write_text(ROUTE)
    return str(file)


def test_apply_says_what_became_of_each_document_and_the_revision(shell: Shell, route: str) -> None:
    assert shell.weft("apply", "-f", route) == 0
    assert shell.out.splitlines()[0] == "default/route/api-split created"
    assert re.fullmatch(r"revision \d+", shell.out.splitlines()[1])
    revision = shell.out.split()[-1]
    assert shell.weft("apply", "-f", route) == 0
    assert shell.out.splitlines() == ["default/route/api-split unchanged", f"revision {revision}"]
    assert shell.weft("apply", "-f", route, "-n", "shop") == 0
    assert "shop/route/api-split created" in shell.out
    Path(route).write_text(ROUTE.replace("name: all", "name: every"))
    assert shell.weft("diff", "-f", route) == 1
    assert "+  - {name: every, to: [{service: api}]}" in shell.out
    assert shell.weft("apply", "-f", str(Path(route).parent)) == 0
    assert "default/route/api-split changed" in shell.out
    assert shell.weft("diff", "-f", route) == 0
    assert shell.out == ""


def test_an_invalid_set_is_told_with_every_place_and_nothing_is_written(shell: Shell, route: str) -> None:
    Path(route).with_name("broken.yaml").write_text(BROKEN)
    assert shell.weft("apply", "-f", str(Path(route).parent)) == 4
    assert shell.out == ""
    assert re.search(r"broken\.yaml:7:\d+: .*weight.*\[WEFT0201\]", shell.err), shell.err
    assert "nothing was written" in shell.err
    assert shell.weft("get", "documents", "-o", "name") == 0
    assert shell.out == ""


def test_validate_needs_no_mesh(route: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "-f", route]) == 0
    assert capsys.readouterr().out == "default/route/api-split valid\n"
    Path(route).write_text(BROKEN)
    assert run(["validate", "-f", route]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert "[invalid_documents]" in said.err


def test_documents_are_given_back_as_they_were_stored(shell: Shell, route: str) -> None:
    shell.weft("apply", "-f", route)
    assert shell.weft("get", "route/api-split", "-o", "yaml") == 0
    assert shell.out == ROUTE
    assert shell.weft("get", "routes", "-o", "name") == 0
    assert shell.out == "route/api-split\n"
    assert shell.weft("get", "route/api-split", "-o", "json") == 0
    row = json.loads(shell.out)
    assert (row["namespace"], row["state"], row["document"]) == ("default", "waiting", ROUTE)
    assert shell.weft("get", "routes", "-n", "shop") == 0
    assert (shell.out, shell.err) == ("", "no routes in the namespace shop\n")
    assert shell.weft("get", "route/nowhere") == 1
    assert "[not_found]" in shell.err


def test_delete_takes_back_by_name_by_key_and_by_file(shell: Shell, route: str) -> None:
    for how in (["route/api-split"], ["default/route/api-split"], ["-f", route]):
        assert shell.weft("apply", "-f", route) == 0
        assert shell.weft("delete", *how) == 0
        assert shell.out.splitlines()[0] == "default/route/api-split deleted"
    assert shell.weft("delete", "route/api-split") == 1
    assert shell.out == "default/route/api-split absent\n"
    assert "[not_found]" in shell.err
    assert shell.weft("delete", "service/api") == 2
    assert shell.weft("delete") == 2


def test_usage_errors_exit_with_2(shell: Shell) -> None:
    assert shell.weft("apply") == 2
    assert shell.weft("apply", "-f", "/nowhere.yaml") == 2
    assert "[no_document]" in shell.err
    assert shell.weft("get", "pods") == 2
    assert shell.weft("get", "route/Bad_Name") == 2
    assert shell.weft("wait") == 2
    assert shell.weft("wait", "--revision", "1", "--timeout", "soon") == 2
    assert shell.weft("get", "routes", "-n", "Bad_Name") == 2


def a_mesh(
    shell: Shell, *, acked: int = 0, refused: tuple[Refused, ...] = (), state: State = State.UP, age: float = 0.0
) -> int:
    """One host with one instance of `api`, and policy published so many seconds ago; the revision of it."""
    instance = Instance(
        ServiceName("default", "api"), "api-1", "dev", "127.0.0.1:7502", 8080, Protocol.HTTP, state, "v1", why="check"
    )
    now = time.time()

    async def write(store: Store) -> int:
        await store.put(keys.META_LAYOUT, layout.encode(layout.Layout.new("dev.weft", "local")))
        await store.put(keys.roster("dev"), roster.encode(roster.RosterEntry(now, ("*",), {"role": "all"})))
        await store.put("registry/default/api/api-1", encode_instance(instance))
        await store.put(keys.host("dev"), encode_host(Host("dev", "b", ("127.0.0.1",), "a", {"engine": "0.1.0"}, "u")))
        await store.put("elect/controller/1", b"ctl-1")
        head = await store.put(keys.COMPILED_MESH, compiled.encode(compiled.Mesh(), source_revision=Revision(1)))
        await store.put(keys.COMPILED_HEAD, compiled.encode(compiled.Head(head, "d"), source_revision=Revision(head)))
        await store.put(keys.STATUS_CONTROLLER, records.encode(ControllerStatus("ctl-1", head, head, at=now - age)))
        served = {"spiffe://dev.weft/ns/default/dc/local/svc/api": Served("ab", now + 61.5 * 3600)}
        await store.put(keys.ack("dev"), Ack(acked or head, head, refused, served).encode())
        return head

    return shell.store(write)


def test_listings_tell_services_instances_hosts_and_certificates(shell: Shell) -> None:
    a_mesh(shell)
    assert shell.weft("get", "services") == 0
    assert shell.out.split() == ["SERVICE", "PROTOCOL", "UP", "INSTANCES", "VERSIONS", "api", "http", "1", "1", "v1"]
    assert shell.weft("get", "instance/api-1", "-o", "json") == 0
    row = json.loads(shell.out)
    assert (row["state"], row["presence"], row["source"], row["host"]) == ("up", "confirmed", "etcd", "dev")
    assert shell.weft("get", "instances", "-o", "wide") == 0
    assert "127.0.0.1:7502" in shell.out
    assert shell.weft("get", "hosts", "-o", "yaml") == 0
    assert "role: all" in shell.out
    assert shell.weft("get", "certificates", "-o", "name") == 0
    assert shell.out == "spiffe://dev.weft/ns/default/dc/local/svc/api\n"
    assert shell.weft("get", "certificate/api") == 0
    assert shell.weft("get", "service/web") == 1
    assert shell.weft("get", "services", "-n", "shop") == 0
    assert shell.out == ""


def test_status_of_a_mesh_that_is_well_is_two_lines_and_0(shell: Shell) -> None:
    a_mesh(shell)
    assert shell.weft("status") == 0, shell.out + shell.err
    first, second = shell.out.splitlines()
    assert re.fullmatch(
        r"mesh dev\.weft   etcd [\d.]+, 1/1 endpoints rev \d+   leader ctl-1   policy \d+, \ds ago", first
    )
    assert second == "hosts 1: 1 current   services 1: 1 up"
    assert shell.weft("status", "--all") == 0
    assert re.search(r"^dev +\d+ +0s +0\.1\.0 +61h +etcd", shell.out, re.MULTILINE), shell.out


def test_status_names_what_is_not_well_and_exits_1(shell: Shell) -> None:
    a_mesh(shell, acked=1, state=State.DOWN, age=60.0)
    broken = DocumentStatus("rejected", 9, "last-good", (Problem(7, 25, "spec", "WEFT0201", "no field wieght"),))
    shell.put(
        **{
            "roster__gone": roster.encode(roster.RosterEntry(0, ("*",))),
            "status__policy__" + DocumentKey("default", "route", "x").path: records.encode(broken),
        }
    )
    assert shell.weft("status") == 1
    assert "hosts 2: 1 behind, 1 silent   services 1: 1 down" in shell.out
    assert re.search(r"^dev +1 .*behind", shell.out, re.MULTILINE)
    assert re.search(r"^gone .*silent", shell.out, re.MULTILINE)
    assert re.search(r"^default/api +down +0/1 +api-1 is down: check", shell.out, re.MULTILINE)
    assert "7:25: no field wieght [WEFT0201]" in shell.out
    assert shell.weft("status", "-o", "json") == 1
    assert json.loads(shell.out)["well"] is False


def test_status_right_after_a_publication_waits_for_hosts_that_are_on_their_way(shell: Shell) -> None:
    head = a_mesh(shell, acked=1)

    async def ack_soon(store: Store) -> None:
        await asyncio.sleep(0.3)
        await store.put(keys.ack("dev"), Ack(head, head).encode())

    with ThreadPoolExecutor(1) as others:
        others.submit(shell.store, ack_soon)
        assert shell.weft("status") == 0, shell.out + shell.err
    assert "hosts 1: 1 current" in shell.out


def test_status_calls_behind_who_is_silent_for_longer_than_acks_take(shell: Shell) -> None:
    a_mesh(shell, acked=1)
    assert shell.weft("status") == 1
    assert "hosts 1: 1 behind" in shell.out


def test_a_host_that_keeps_up_with_a_stream_of_publications_is_settling_and_well() -> None:
    """One that has not acked what was published two seconds ago is behind, however young the newest publication is."""
    items = [
        Item(keys.META_LAYOUT, layout.encode(layout.Layout.new("dev.weft", "local")), Revision(1), Revision(1), 1),
        *(
            Item(key, value, Revision(1), Revision(1), 1)
            for name, policy in (("keeps-up", 90), ("stuck", 80))
            for key, value in {
                keys.roster(name): b"{}",
                keys.host(name): encode_host(Host(name, "b", ("127.0.0.1",), "", {}, "u")),
                keys.ack(name): Ack(policy, 1).encode(),
            }.items()
        ),
        Item(keys.COMPILED_HEAD, compiled.encode(compiled.Head(99, "d"), source_revision=Revision(99)), Revision(1), Revision(1), 1),
        Item(keys.STATUS_CONTROLLER, records.encode(ControllerStatus("ctl-1", 99, 99, at=1_000.0)), Revision(1), Revision(1), 1),
        Item(f"{keys.elect('controller')}1", b"ctl-1", Revision(1), Revision(1), 1),
    ]  # fmt: skip
    listing = Listing(Revision(99), tuple(items))
    found = report(listing, etcd="", now=1_000.5, had=90)
    assert found is not None
    assert {str(row["name"]): (row["note"], row["well"]) for row in found.hosts} == {
        "keeps-up": ("settling", True),
        "stuck": ("behind", False),
    }
    assert "1 settling, 1 behind" in found.lines[1]
    later = report(listing, etcd="", now=1_002.5, had=90)
    assert later is not None
    assert [row["note"] for row in later.hosts] == ["behind", "behind"]


def test_a_key_that_cannot_be_read_is_told_and_hides_nothing_else(shell: Shell) -> None:
    a_mesh(shell)
    shell.put(ack__dev=b"rubbish", roster__odd=b"rubbish")
    assert shell.weft("get", "hosts", "-o", "name") == 0
    assert shell.out == "dev\nodd\n"
    assert "warning: a key cannot be read: ack/dev: not an ack" in shell.err
    assert "warning: roster/odd cannot be read" in shell.err


def test_status_without_a_leader_says_that_documents_wait(shell: Shell) -> None:
    a_mesh(shell)
    shell.store(lambda store: store.delete("elect/controller/1"))
    assert shell.weft("status") == 1
    assert "no controller leads" in shell.out


def test_status_below_a_root_without_a_mesh_says_so(shell: Shell) -> None:
    assert shell.weft("status") == 1
    assert "[not_found]" in shell.err


def test_wait_is_0_when_everyone_serves_it_1_when_somebody_refuses_6_when_time_is_up(shell: Shell) -> None:
    head = a_mesh(shell)
    assert shell.weft("wait", "--revision", str(head)) == 0
    assert "is live on dev" in shell.out
    assert shell.weft("wait", "--revision", str(head + 1_000_000), "--timeout", "300ms") == 6
    assert "the controller has not published it" in shell.err
    a_mesh(shell, refused=(Refused("service/default/api", "bad_route"),))
    assert shell.weft("wait", "--revision", str(head)) == 1
    assert "dev refuses service/default/api bad_route" in shell.err
    a_mesh(shell, acked=1)
    assert shell.weft("wait", "--revision", str(head), "--timeout", "300ms") == 6
    assert "dev is behind at 1" in shell.err


def test_wait_live_leaves_out_hosts_without_a_lease(shell: Shell) -> None:
    head = a_mesh(shell)
    shell.put(roster__gone=roster.encode(roster.RosterEntry(0, ("*",))))
    assert shell.weft("wait", "--revision", str(head), "--timeout", "300ms") == 6
    assert "gone is silent" in shell.err
    assert shell.weft("wait", "--revision", str(head), "--timeout", "300ms", "--live") == 0


def test_dump_decodes_compiled_values_json_and_documents(shell: Shell, route: str) -> None:
    head = a_mesh(shell)
    shell.weft("apply", "-f", route)
    assert shell.weft("dump", "compiled/head") == 0
    assert json.loads(shell.out)["payload"]["source_revision"] == head
    assert shell.weft("dump", f"{shell.config.root}policy/default/route/api-split") == 0
    assert shell.out == ROUTE
    assert shell.weft("dump", "roster/dev") == 0
    assert json.loads(shell.out)["services"] == ["*"]
    assert shell.weft("dump", "--prefix", "--keys-only", "policy/") == 0
    assert shell.out == f"{shell.config.root}policy/default/route/api-split\n"
    assert shell.weft("dump", "roster/nobody") == 1


def test_a_token_pins_the_root_and_keeps_only_its_digest_in_the_store(shell: Shell, tmp_path: Path) -> None:
    assert run(["ca", "init", str(tmp_path / "ca"), "--trust-domain", "dev.weft"]) == 0
    a_mesh(shell)
    root = (tmp_path / "ca/root.pem").read_text()
    shell.put(pki__trust=trust.encode(TrustBundle({"dev.weft": (root,)})))
    assert shell.weft("token", "create", "--services", "*,gateway:edge", "--host", "vm-1", "--valid", "10m") == 0
    found = re.fullmatch(r"weft-join\.([0-9a-f]{64})\.([0-9a-f]{64})\n", shell.out)
    assert found
    assert found[2] == trust.digest(root)
    assert shell.weft("dump", "--prefix", "pki/token/") == 0
    assert json.loads(shell.out)["host"] == "vm-1"
    assert found[1] not in shell.out + shell.err
    assert shell.weft("token", "create", "--services", "Bad_Name") == 2


def test_etcd_that_does_not_answer_is_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--etcd", "http://127.0.0.1:9"]) == 3
    assert "[store_unavailable]" in capsys.readouterr().err


def test_a_ca_signs_what_it_was_told_to_and_refuses_the_rest(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(["ca", "init", str(tmp_path / "ca"), "--trust-domain", "corp"]) == 0
    key = certificates.new_key()
    request = tmp_path / "web.csr"
    request.write_bytes(requests.make_csr(key, SpiffeId.of_service("corp", "ams1", ServiceName("default", "web"))))
    capfdbinary.readouterr()
    assert run(["ca", "sign", str(request), "--ca", str(tmp_path / "ca"), "--services", "web"]) == 0
    assert capfdbinary.readouterr().out.count(b"BEGIN CERTIFICATE") == 2
    assert run(["ca", "sign", str(request), "--ca", str(tmp_path / "ca"), "--services", "api"]) == 7
    assert b"[identity_not_allowed]" in capfdbinary.readouterr().err
