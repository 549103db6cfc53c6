"""What a mesh's store says, as engines would be told it: for who explains without a host, or documents not applied yet. Pure.

The snapshot is the one that an agent builds (`proxy.snapshot`), of a host that has a port for each pair of caller and
service that is asked about; a gateway's is that of a host which serves it. What an engine has learned of endpoints is not in
the store: nobody is ejected here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from gateway.listeners import edge
from ops.explain.world import CALLED, FREE, Plain, World, plain
from policy import compiled
from policy.apply import Prepared
from policy.compile import Compilation, ServiceFacts, compile_documents
from policy.dryrun import overlaid
from policy.inputs import Inputs
from policy.outputs import Outputs
from policy.records import DocumentStatus
from policy.selection import Stored
from proxy.follow import Published
from proxy.snapshot import HostFacts, Local, Rules, build
from registry import keys, layout
from registry.keys import DocumentKey
from registry.layout import Layout
from registry.model import Endpoint, Instance, Protocol, State
from registry.names import ServiceName
from registry.store import Item, Listing, Revision
from registry.view import View

PREFIXES = (*Inputs.PREFIXES, *Outputs.PREFIXES, keys.HOSTS, keys.META_LAYOUT)
HOST = "explain"
"""Who serves what is asked about; no host of a mesh is called so, or its instances would be left out."""


@dataclass(frozen=True, slots=True)
class StoredMesh:
    """A store at one revision: documents and services as the compiler takes them, and what is published."""

    layout: Layout
    revision: int
    documents: Sequence[Stored]
    services: Mapping[ServiceName, ServiceFacts]
    rules: Rules
    gateways: Mapping[str, compiled.Gateway]
    policy: int
    view: View
    now: float
    source: str

    @classmethod
    def of(cls, listing: Listing, *, now: float, source: str) -> StoredMesh | None:
        """From a listing of `PREFIXES`; None where there is no mesh. `now` in seconds since the epoch."""
        found = next((item.value for item in listing.items if item.key == keys.META_LAYOUT), None)
        if found is None:
            return None
        outputs = Outputs.of(_of(listing, *Outputs.PREFIXES))
        inputs = Inputs()
        inputs.remember_expired(outputs.statuses())
        inputs.relist(_of(listing, *Inputs.PREFIXES))
        published = Published().relist(_of(listing, keys.COMPILED).items).take()
        return cls(
            layout=layout.decode(found),
            revision=listing.revision,
            documents=inputs.stored(outputs.last_good),
            services={**outputs.remembered(), **inputs.services()},
            rules=Rules(published.services, published.mesh),
            gateways=published.gateways,
            policy=published.revision,
            view=View.empty().relist(_of(listing, keys.REGISTRY, keys.HOSTS), now=now),
            now=now,
            source=source,
        )

    def compile(self, documents: Sequence[Stored]) -> Compilation:
        """As the leader compiles them."""
        return compile_documents(documents, self.services, now=self.now)

    def with_documents(self, prepared: Sequence[Prepared]) -> tuple[StoredMesh, Mapping[DocumentKey, DocumentStatus]]:
        """The same with these documents in place of those of the same names, and what the compiler says of each."""
        after = Revision(self.revision + 1)
        documents = overlaid(self.documents, {one.key: Item("", one.document, after, after, 1) for one in prepared})
        done = self.compile(documents)
        mesh = StoredMesh(
            self.layout,
            self.revision,
            documents,
            self.services,
            Rules(done.services, done.mesh),
            done.gateways,
            self.policy,
            self.view,
            self.now,
            f"{self.source} with {', '.join(sorted({one.file for one in prepared}))}",
        )
        return mesh, {one.key: done.statuses[one.key] for one in prepared}

    def host(self, pairs: Iterable[tuple[ServiceName, ServiceName]]) -> World:
        """A host on which each of these callers has a port for that service."""
        ports = count(FREE)
        locals_ = [
            Local(
                Instance(caller, f"{HOST}-{number}", HOST, CALLED, 1, self._protocol(caller), State.UP),
                {service: next(ports)},
            )
            for number, (caller, service) in enumerate(sorted(set(pairs)))
        ]
        facts = HostFacts(HOST, "", self.layout.trust_domain, self.layout.datacenter, CALLED)
        return self._world(facts, locals_)

    def gateway(self, name: str) -> World | None:
        """A host that serves a gateway; None where there is none of that name."""
        found = self.gateways.get(name)
        if found is None:
            return None
        at = edge(name, found, labels=found.hosts_with, address=str(ipaddress.IPv4Address(0)))
        facts = HostFacts(HOST, "", self.layout.trust_domain, self.layout.datacenter)
        sent = build(facts, (), self._endpoints, self.rules, protocols=self._protocols(), edge=at)
        return self._told(plain(sent))

    def _world(self, facts: HostFacts, locals_: Sequence[Local]) -> World:
        sent = plain(build(facts, locals_, self._endpoints, self.rules, protocols=self._protocols()))
        return self._told({name: _without_own(value) for name, value in sent.items()})

    def _told(self, sent: Mapping[str, Plain]) -> World:
        return World(self.source, self.policy, self.revision, sent, of_engine=False)

    def _endpoints(self, service: ServiceName) -> Iterable[Endpoint]:
        return self.view.endpoints(service, now=self.now)

    def _protocols(self) -> Mapping[ServiceName, Protocol]:
        return {name: info.protocol for name, info in self.view.services().items()}

    def _protocol(self, service: ServiceName) -> Protocol:
        return self._protocols().get(service, Protocol.HTTP)


def _without_own(section: Plain) -> Plain:
    """Without the instances that are only there to call."""
    listed = section.get("endpoints")
    if not isinstance(listed, list):
        return section
    return {**section, "endpoints": [one for one in listed if one["host"] != HOST]}


def _of(listing: Listing, *prefixes: str) -> Listing:
    return Listing(listing.revision, tuple(item for item in listing.items if item.key.startswith(prefixes)))
