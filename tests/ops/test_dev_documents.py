"""What a mesh on this machine is made of: its configuration files, and the documents that it keeps."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest

from ops import controller_config
from ops.dev import documents
from ops.dev.layout import Layout
from ops.dev.ports import Ports
from policy.documents.parse import parse
from proxy import config
from registry import keys
from registry.keys import DocumentKey
from registry.memory import MemoryStore
from registry.model import Instance, Protocol, State, Tombstone
from registry.names import ServiceName
from registry.records import encode_instance

WEB = ServiceName("default", "web")
CART = ServiceName("shop", "cart")
LONG = ServiceName("default", "a" * 63)


def instance(service: ServiceName, name: str) -> tuple[str, bytes]:
    record = Instance(service, name, "dev", "127.0.0.1:7502", 8080, Protocol.HTTP, State.UP)
    return keys.instance(service, name), encode_instance(record)


def test_every_configuration_is_one_that_its_process_takes(tmp_path: Path) -> None:
    texts = {path.stem: text for path, text in Layout(tmp_path, Ports(), "10s", "3s").configurations().items()}
    assert set(texts) == {"engine", "gateway", "controller", "agent", "gateway_agent"}
    for name in ("agent", "gateway_agent"):
        parsed = config.parse(texts[name], source=name)
        assert parsed.etcd is not None
        assert parsed.etcd.lease_ttl.total_seconds() == 3
    assert (
        controller_config.ControllerConfig.model_validate(
            tomllib.loads(texts["controller"])
        ).ca.leaf_ttl.total_seconds()
        == 10
    )


@pytest.mark.parametrize(
    ("key", "text"),
    [(documents.DEFAULTS, documents.DEFAULTS_TEXT), *(documents.edge_route(one) for one in (WEB, CART, LONG))],
)
def test_every_document_kept_is_one_that_policy_accepts(key: DocumentKey, text: str) -> None:
    assert not isinstance(parse(key, text.encode()), tuple)
    assert isinstance(parse(key, text.replace("spec", "speck").encode()), tuple)


def test_web_is_the_root_and_other_namespaces_have_hosts_of_their_own() -> None:
    key, text = documents.edge_route(WEB)
    assert key == DocumentKey("default", "route", "edge-web")
    assert "hosts: [web.localhost, localhost, 127.0.0.1]" in text
    key, text = documents.edge_route(CART)
    assert key == DocumentKey("shop", "route", "edge-cart")
    assert "hosts: [cart.shop.localhost]" in text


def test_a_service_is_present_until_a_tombstone_of_its_last_instance() -> None:
    present = documents.Present()
    present.note(*instance(WEB, "web-1"))
    present.note(*instance(WEB, "web-2"))
    present.note("registry/default/web/web-3", b"not JSON")
    gone = encode_instance(Tombstone("deregistered", 0.0))
    present.note(keys.instance(WEB, "web-1"), gone)
    assert present.services() == {WEB}
    present.note(keys.instance(WEB, "web-2"), gone)
    assert present.services() == frozenset()


def test_a_service_without_requests_gets_no_route() -> None:
    present = documents.Present()
    record = Instance(WEB, "db-1", "dev", "127.0.0.1:7502", 5432, Protocol.TCP, State.UP)
    present.note(keys.instance(WEB, "db-1"), encode_instance(record))
    assert present.services() == frozenset()


@pytest.mark.anyio
async def test_routes_come_and_go_with_services_but_for_those_that_somebody_changed() -> None:
    store = MemoryStore()
    left = documents.edge_route(ServiceName("default", "old"))
    await store.put(keys.document(keys.POLICY, left[0]), left[1].encode())
    mine = keys.document(keys.POLICY, documents.edge_route(CART)[0])
    await store.put(mine, b"# mine")
    keeper = asyncio.create_task(documents.keep_edge_routes(store))

    async def routes() -> set[str]:
        return {item.key.rpartition("/")[2] for item in (await store.list(keys.POLICY)).items}

    async def until(expected: set[str]) -> None:
        async with asyncio.timeout(5):
            while await routes() != expected:  # noqa: ASYNC110 - the memory store has no event for us
                await asyncio.sleep(0.005)

    try:
        await until({"edge-cart"})  # what an earlier run left is swept
        for service in (WEB, CART):
            await store.put(*instance(service, "one"))
        await until({"edge-cart", "edge-web"})
        for service in (WEB, CART):
            await store.put(keys.instance(service, "one"), encode_instance(Tombstone("deregistered", 0.0)))
        await until({"edge-cart"})
        item = await store.get(mine)
        assert item is not None
        assert item.value == b"# mine"
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
