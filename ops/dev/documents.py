"""The documents that `weft dev` keeps: its gateway, who may call by default, and a route at the edge for each service.

They are ordinary documents: `weft get documents` lists them, and whoever changes one keeps the change, because only those
that are not there are written and only those that nobody changed are removed (but the gateway's, whose ports are this run's).
"""

from __future__ import annotations

import contextlib
import logging
import re
from hashlib import sha256
from pathlib import Path

from ops.dev.ports import Ports
from registry import keys
from registry.keys import DocumentKey
from registry.model import Protocol, Tombstone
from registry.names import DEFAULT_NAMESPACE, MESH_NAMESPACE, InvalidName, ServiceName
from registry.records import InvalidRecord, decode_instance
from registry.store import Compare, Delete, Put, Revision, Store
from registry.sync import Changed, Relisted, follow

logger = logging.getLogger(__name__)

GATEWAY = DocumentKey(MESH_NAMESPACE, "gateway", "edge")
FRONT = ServiceName(DEFAULT_NAMESPACE, "web")
LONGEST_NAME = 63
KEPT = re.compile(r"# weft dev keeps this while (\S+) is in the registry")


def gateway(ports: Ports, *, certificate: Path, key: Path) -> str:
    """The development gateway: plain and TLS, for every host."""
    return f"""\
apiVersion: weft/v1
kind: Gateway
metadata: {{name: edge, namespace: mesh}}
spec:
  listeners:
  - {{name: http, port: {ports.gateway_http}, protocol: http}}
  - name: https
    port: {ports.gateway_https}
    protocol: https
    tls: {{certificates: [{{cert_file: "{certificate}", key_file: "{key}"}}]}}
"""


DEFAULTS = DocumentKey(MESH_NAMESPACE, "defaults", "dev")
DEFAULTS_TEXT = """\
# Development: whoever is in the mesh may call. In production write `access: deny` here and allow by Access.
apiVersion: weft/v1
kind: Defaults
metadata: {name: dev, namespace: mesh}
spec: {access: allow}
"""


def edge_route(service: ServiceName) -> tuple[DocumentKey, str]:
    """`<service>.localhost` at the edge, `<service>.<namespace>.localhost` outside the default namespace; web is also `/`."""
    within = "" if service.namespace == DEFAULT_NAMESPACE else f".{service.namespace}"
    hosts = [f"{service.name}{within}.localhost"]
    if service == FRONT:
        hosts += ["localhost", "127.0.0.1"]
    name = f"edge-{service.name}"
    if len(name) > LONGEST_NAME:
        name = f"edge-{sha256(service.name.encode()).hexdigest()[:32]}"
    text = f"""\
# weft dev keeps this while {service} is in the registry, and leaves it alone once somebody changed it.
apiVersion: weft/v1
kind: Route
metadata: {{name: {name}, namespace: {service.namespace}}}
spec:
  gateway: edge
  hosts: [{", ".join(hosts)}]
  rules:
  - {{name: {service.name}, to: [{{service: {service.name}}}]}}
"""
    return DocumentKey(service.namespace, "route", name), text


async def put_defaults(store: Store) -> None:
    """Write who may call by default, unless somebody has."""
    await _put_missing(store, DEFAULTS, DEFAULTS_TEXT)


async def put_gateway(store: Store, text: str) -> None:
    """Write the gateway's document where it differs."""
    name = keys.document(keys.POLICY, GATEWAY)
    item = await store.get(name)
    if item is None or item.value != text.encode():
        await store.put(name, text.encode())


async def keep_edge_routes(store: Store) -> None:
    """Give every service that appears its route at the edge, and take it back when its last instance left, for ever.

    An instance leaves by a tombstone; one whose key was merely lost may go on serving, and so does its route.
    """
    present = Present()
    swept = False
    async for update in follow(store, (keys.REGISTRY,)):
        match update:
            case Relisted(listing):
                records = [(item.key, item.value) for item in listing.items]
            case Changed(batch):
                records = [(event.key, event.item.value) for event in batch.events if event.item is not None]
            case _:
                continue
        before = present.services()
        for key, value in records:
            present.note(key, value)
        now = present.services()
        for service in sorted(now - before):
            await _put_missing(store, *edge_route(service))
        for service in sorted((before - now) if swept else (await _kept(store) - now)):
            await _remove_unchanged(store, *edge_route(service))
        swept = True


class Present:
    """Which instances that take requests are in the registry: a fold over its records."""

    def __init__(self) -> None:
        self._instances: dict[ServiceName, set[str]] = {}

    def services(self) -> frozenset[ServiceName]:
        """Those with an instance."""
        return frozenset(self._instances)

    def note(self, key: str, value: bytes) -> None:
        """Take one record in; one that cannot be read counts for nothing."""
        try:
            service, instance = keys.parse_instance(key)
            record = decode_instance(key, value)
        except (InvalidName, InvalidRecord) as error:
            logger.warning("a key cannot be read", extra={"key": key, "error": str(error)})
            return
        instances = self._instances.setdefault(service, set())
        if isinstance(record, Tombstone):
            instances.discard(instance)
        elif record.protocol is not Protocol.TCP:
            instances.add(instance)
        if not instances:
            del self._instances[service]


async def _kept(store: Store) -> set[ServiceName]:
    """The services for which an earlier run left a route."""
    listing = await store.list(keys.POLICY)
    found: set[ServiceName] = set()
    for item in listing.items:
        if match := KEPT.match(item.value.decode(errors="replace")):
            with contextlib.suppress(InvalidName):
                found.add(ServiceName.parse(match[1]))
    return found


async def _put_missing(store: Store, key: DocumentKey, text: str) -> None:
    name = keys.document(keys.POLICY, key)
    await store.transact([Compare(name, create_revision=Revision(0))], [Put(name, text.encode())])


async def _remove_unchanged(store: Store, key: DocumentKey, text: str) -> None:
    name = keys.document(keys.POLICY, key)
    await store.transact([Compare(name, value=text.encode())], [Delete(name)])
