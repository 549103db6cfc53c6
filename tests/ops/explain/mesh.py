"""A small mesh as its store has it, for explaining: `web` and `cron` call `api`, which has three instances."""

from __future__ import annotations

from collections.abc import Iterable

from ops.explain.stored import StoredMesh
from policy.compile import compile_documents
from policy.compiled import encode
from policy.inputs import Inputs
from registry import keys, layout
from registry.layout import Layout
from registry.model import Host, Instance, Protocol, State
from registry.names import ServiceName
from registry.records import encode_host, encode_instance
from registry.store import Item, Listing, Revision

API, WEB, CRON, DB = (ServiceName("shop", name) for name in ("api", "web", "cron", "db"))
NOW = 1_900_000_000.0
DOCUMENTS = {
    "shop/route/split": """{service: api, rules: [
  {name: canary, match: [{path: {prefix: /v2}, headers: {x-canary: "yes"}}], to: [{service: api, labels: {version: v2}}], timeout: 2s},
  {name: old, match: [{path: {prefix: /old}}], respond: {code: 410, body: gone}},
  {name: both, match: [{path: {prefix: /both}}], to: [
    {service: api, labels: {version: v1}, weight: 3}, {service: web, weight: 1}]}]}""",
    "shop/traffic/api": "{service: api, timeout: 4s}",
    "shop/access/api": "{service: api, rules: [{name: web, allow: {from: [web, 'gateway:edge'], methods: [GET]}}]}",
    "shop/limit/api": "{service: api, rules: [{name: all, by: caller, rate: 50/s}]}",
    "mesh/gateway/edge": "{listeners: [{name: http, port: 8080, protocol: http}, {name: db, port: 5433, protocol: tls}]}",
    "shop/route/edge": "{gateway: edge, hosts: [shop.test], rules: [{name: all, to: [api]}]}",
}


def document(key: str, spec: str) -> bytes:
    """As people write it."""
    return f"apiVersion: weft/v1\nkind: {key.split('/')[1].capitalize()}\nspec: {spec}\n".encode()


def instance(
    service: ServiceName,
    name: str,
    host: str,
    *,
    version: str = "v1",
    state: State = State.UP,
    protocol: Protocol = Protocol.HTTP,
) -> Item:
    """As its host registers it."""
    made = Instance(service, name, host, f"10.0.0.{host[-1]}:7502", 8080, protocol, state, version=version)
    return _item(keys.instance(service, name), encode_instance(made))


def stored(documents: dict[str, str] | None = None, *, instances: Iterable[Item] | None = None) -> StoredMesh:
    """The mesh, compiled and published at revision 9."""
    texts = {key: document(key, spec) for key, spec in (DOCUMENTS if documents is None else documents).items()}
    there = instances if instances is not None else (
        instance(API, "api-1", "vm-1"),
        instance(API, "api-2", "vm-2", version="v2"),
        instance(API, "api-3", "vm-2", state=State.DOWN),
        instance(WEB, "web-1", "vm-1"),
        instance(CRON, "cron-1", "vm-1"), instance(DB, "db-1", "vm-2", protocol=Protocol.TCP),
    )  # fmt: skip
    hosts = [
        _item(keys.host(name), encode_host(Host(name, "boot", (f"10.0.0.{name[-1]}",), "", {}, "owner")))
        for name in ("vm-1", "vm-2")
    ]
    items = [*there, *hosts, *(_item(f"policy/{key}", text) for key, text in texts.items())]
    inputs = Inputs()
    inputs.relist(Listing(Revision(9), tuple(item for item in items if item.key.startswith(Inputs.PREFIXES))))
    done = compile_documents(inputs.stored({}), inputs.services(), now=NOW)
    assert all(status.state == "accepted" for status in done.statuses.values()), done.statuses
    published = {
        keys.META_LAYOUT: layout.encode(Layout("id", "corp", "ams1")),
        keys.COMPILED_MESH: encode(done.mesh, source_revision=Revision(9)),
        **{
            keys.compiled_service(name): encode(one, source_revision=Revision(9)) for name, one in done.services.items()
        },
        **{
            keys.compiled_gateway(name): encode(one, source_revision=Revision(9)) for name, one in done.gateways.items()
        },
    }
    listing = Listing(Revision(9), (*items, *(_item(key, value) for key, value in published.items())))
    found = StoredMesh.of(listing, now=NOW, source="etcd")
    assert found is not None
    return found


def _item(key: str, value: bytes) -> Item:
    return Item(key, value, Revision(1), Revision(1), 1)
