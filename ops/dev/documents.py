"""The documents that `weft dev` keeps: its gateway, who may call by default, and a host at the edge for each service.

They are ordinary documents: `weft get documents` lists them, and whoever changes one keeps the change, because only those
that are not there are written (but the gateway's, whose ports are this run's).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from ops.dev.ports import Ports
from registry import keys
from registry.keys import DocumentKey
from registry.names import DEFAULT_NAMESPACE, MESH_NAMESPACE, InvalidName, ServiceName
from registry.store import Compare, Put, Revision, Store
from registry.sync import Changed, Relisted, follow

logger = logging.getLogger(__name__)

GATEWAY = DocumentKey(MESH_NAMESPACE, "gateway", "edge")


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


def standing() -> Mapping[DocumentKey, str]:
    """What is there whatever services there are: calls are allowed, and `/` is web."""
    return {
        DocumentKey(MESH_NAMESPACE, "defaults", "dev"): """\
# Development: whoever is in the mesh may call. In production write `access: deny` here and allow by Access.
apiVersion: weft/v1
kind: Defaults
metadata: {name: dev, namespace: mesh}
spec: {access: allow}
""",
        DocumentKey(DEFAULT_NAMESPACE, "route", "edge-root"): """\
apiVersion: weft/v1
kind: Route
metadata: {name: edge-root, namespace: default}
spec:
  gateway: edge
  hosts: [localhost, 127.0.0.1]
  rules:
  - {name: web, to: [{service: web}]}
""",
    }


def edge_route(service: ServiceName) -> tuple[DocumentKey, str]:
    """`<service>.localhost` at the edge, and `<service>.<namespace>.localhost` outside the default namespace."""
    within = "" if service.namespace == DEFAULT_NAMESPACE else f".{service.namespace}"
    name = f"edge-{service.name}"[:63].rstrip("-")
    text = f"""\
apiVersion: weft/v1
kind: Route
metadata: {{name: {name}, namespace: {service.namespace}}}
spec:
  gateway: edge
  hosts: [{service.name}{within}.localhost]
  rules:
  - {{name: {service.name}, to: [{{service: {service.name}}}]}}
"""
    return DocumentKey(service.namespace, "route", name), text


async def put_missing(store: Store, documents: Mapping[DocumentKey, str]) -> None:
    """Write those that are not there."""
    for key, text in documents.items():
        name = keys.document(keys.POLICY, key)
        await store.transact([Compare(name, create_revision=Revision(0))], [Put(name, text.encode())])


async def put_gateway(store: Store, text: str) -> None:
    """Write the gateway's document where it differs."""
    name = keys.document(keys.POLICY, GATEWAY)
    item = await store.get(name)
    if item is None or item.value != text.encode():
        await store.put(name, text.encode())


async def keep_edge_routes(store: Store) -> None:
    """Give every service that appears its host at the edge, for ever."""
    seen: set[ServiceName] = set()
    async for update in follow(store, (keys.REGISTRY,)):
        match update:
            case Relisted(listing):
                names = _services([item.key for item in listing.items])
            case Changed(batch):
                names = _services([event.key for event in batch.events if event.item is not None])
            case _:
                continue
        new = names - seen
        if new:
            await put_missing(store, dict(edge_route(service) for service in sorted(new)))
            seen |= new


def _services(registry_keys: Collection[str]) -> set[ServiceName]:
    found = set()
    for key in registry_keys:
        try:
            found.add(keys.parse_instance(key)[0])
        except InvalidName as error:
            logger.warning("a key cannot be read", extra={"key": key, "error": str(error)})
    return found
