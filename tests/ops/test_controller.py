"""A controller in one process with its store in memory: founding, signing, leading, and what it does without the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from ops.controller import Controller
from ops.controller_config import Api, Ca, ControllerConfig, Hosts, Mesh, load
from ops.founding import NotOurMeshError, found_mesh
from proxy.config import Etcd, InvalidConfig
from proxy.identity import Identities, Identity
from registry import keys, layout
from registry.layout import InvalidLayout
from registry.memory import MemoryStore
from registry.names import SpiffeId
from registry.pki import tokens
from registry.pki.authority import Authority, create
from registry.pki.certificates import now_utc
from registry.pki.slots import Slots
from registry.store import Store
from tests.support.identity import TRUST_DOMAIN, service, write_token

pytestmark = pytest.mark.anyio

API = service("api")


def config(directory: Path, *, host: str = "ctl-1", mesh: bool = True) -> ControllerConfig:
    return ControllerConfig(
        host=host,
        state_dir=directory / host,
        etcd=Etcd(endpoints=("http://127.0.0.1:1",)),
        ca=Ca(dir=directory / "ca"),
        hosts=Hosts(listen="127.0.0.1:0"),
        api=Api(listen="127.0.0.1:0"),
        mesh=Mesh(trust_domain=TRUST_DOMAIN, datacenter="local") if mesh else None,
    )


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return create(tmp_path / "ca", trust_domain=TRUST_DOMAIN, now=now_utc())


@asynccontextmanager
async def running(config: ControllerConfig, store: Store, ca: Authority) -> AsyncIterator[Controller]:
    controller = Controller(config, store=store, slots=Slots(config.ca.dir))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(controller.run())
        await controller.ready.wait()
        yield controller
        task.cancel()


@asynccontextmanager
async def operator(controller: Controller) -> AsyncIterator[httpx2.AsyncClient]:
    url = f"http://127.0.0.1:{controller.api_port}"
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


async def joined(directory: Path, controller: Controller, token_file: Path, *wanted: SpiffeId) -> list[Identity]:
    """The identities wanted, as a host gets them."""
    url = f"https://127.0.0.1:{controller.hosts_port}"
    identities = Identities(state_dir=directory, host="vm-1", controllers=[url], token_file=token_file)
    identities.want(frozenset(wanted))
    found: list[Identity] = []
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(identities.run())
        async for change in identities.changes():
            if isinstance(change, Identity):
                found.append(change)
            if len(found) == len(wanted):
                break
        task.cancel()
    return found


async def test_the_first_controller_founds_the_mesh_and_the_second_finds_it(tmp_path: Path, ca: Authority) -> None:
    store = MemoryStore()
    async with running(config(tmp_path), store, ca):
        item = await store.get(keys.META_LAYOUT)
        assert item is not None
        async with running(config(tmp_path, host="ctl-2", mesh=False), store, ca):
            again = await store.get(keys.META_LAYOUT)
    assert again == item
    assert layout.decode(item.value).trust_domain == TRUST_DOMAIN
    trust = await store.get(keys.PKI_TRUST)
    assert trust is not None
    assert trust.create_revision == item.create_revision


async def test_an_operator_makes_a_token_and_a_host_joins_with_it(tmp_path: Path, ca: Authority) -> None:
    store = MemoryStore()
    async with running(config(tmp_path), store, ca) as controller, operator(controller) as client:
        answer = await client.post("/v1/tokens", json={"services": ["default/api"], "validity": "5m"})
        assert answer.status_code == 201, answer.text
        token = tokens.Token.parse(answer.json()["token"])
        found = await joined(tmp_path / "vm", controller, write_token(tmp_path / "vm", token), API)
        assert [identity.id for identity in found] == [API]
        status = (await client.get("/v1/status")).json()
        assert status["mesh"]["trust_domain"] == TRUST_DOMAIN
        assert [host["host"] for host in status["hosts"]] == ["vm-1"]
        metrics = (await client.get("/metrics")).text
        assert 'weft_controller_certificates_signed_total{kind="host"} 1.0' in metrics


async def test_a_controller_that_restarts_without_its_store_signs_for_hosts_it_knew(
    tmp_path: Path, ca: Authority
) -> None:
    store = MemoryStore()
    async with running(config(tmp_path), store, ca) as controller, operator(controller) as client:
        answer = await client.post("/v1/tokens", json={"services": ["*"]})
        token_file = write_token(tmp_path / "vm", tokens.Token.parse(answer.json()["token"]))
        await joined(tmp_path / "vm", controller, token_file, API)
        while "vm-1" not in (tmp_path / "ctl-1" / "members.json").read_text():  # noqa: ASYNC110 - a file is a state, not an event
            await asyncio.sleep(0.01)
    gone = MemoryStore()
    await gone.close()
    async with running(config(tmp_path), gone, ca) as controller, operator(controller) as client:
        found = await joined(tmp_path / "vm", controller, token_file, API, service("web"))
        assert {identity.id for identity in found} == {API, service("web")}
        status = (await client.get("/v1/status")).json()
        assert status["etcd"]["available"] is False
        assert status["mesh"]["trust_domain"] == TRUST_DOMAIN


async def test_a_controller_compiles_what_is_put_while_it_leads(tmp_path: Path, ca: Authority) -> None:
    store = MemoryStore()
    route = b"apiVersion: weft/v1\nkind: Route\nspec: {service: api, rules: [{to: [{service: api}]}]}\n"
    async with running(config(tmp_path), store, ca) as controller, operator(controller) as client:
        put = await client.put("/v1/policy/default/route/api", content=route)
        assert put.status_code == 200, put.text
        revision = put.json()["revision"]
        assert put.json()["results"][0]["result"] == "created"
        assert (await client.get("/v1/policy/default/route/api")).content == route
        waited = await client.post("/v1/wait", json={"revision": revision, "timeout": "10s"})
        assert waited.json()["outcome"] == "done", waited.text
        assert (await client.put("/v1/policy/default/route/api", content=route)).json()["results"][0][
            "result"
        ] == "unchanged"
        status = (await client.get("/v1/status")).json()
        assert status["leader"] == "ctl-1"


async def test_a_mesh_of_another_ca_is_not_served(tmp_path: Path, ca: Authority) -> None:
    store = MemoryStore()
    names = Mesh(trust_domain=TRUST_DOMAIN, datacenter="local")
    await found_mesh(store, names=names, authority=ca, known=None)
    stranger = create(tmp_path / "other", trust_domain=TRUST_DOMAIN, now=now_utc())
    with pytest.raises(NotOurMeshError, match="does not trust the root"):
        await found_mesh(store, names=names, authority=stranger, known=None)


async def test_an_emptied_store_is_not_founded_anew_by_who_knew_the_mesh(tmp_path: Path, ca: Authority) -> None:
    names = Mesh(trust_domain=TRUST_DOMAIN, datacenter="local")
    known = await found_mesh(MemoryStore(), names=names, authority=ca, known=None)
    empty = MemoryStore()
    with pytest.raises(NotOurMeshError, match=known.mesh_id):
        await found_mesh(empty, names=names, authority=ca, known=known)
    assert (await empty.list("")).items == ()


async def test_without_names_no_mesh_is_founded(ca: Authority) -> None:
    with pytest.raises(NotOurMeshError, match=r"\[mesh\]"):
        await found_mesh(MemoryStore(), names=None, authority=ca, known=None)


def test_a_newer_layout_is_refused_and_says_so() -> None:
    newer = layout.Layout("m", "corp", "ams1", layout=2, min_reader=2)
    with pytest.raises(InvalidLayout, match="upgrade"):
        layout.decode(layout.encode(newer))


def test_unknown_keys_of_the_configuration_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "controller.toml"
    path.write_text(
        'host = "ctl-1"\nstate_dir = "/s"\nsped = 1\n[etcd]\nendpoints = ["http://127.0.0.1:1"]\n[ca]\ndir = "/ca"\nleaf_ttl = "3"\n'
    )
    with pytest.raises(InvalidConfig, match=r"sped.*ca\.leaf_ttl|ca\.leaf_ttl.*sped"):
        load(path)
