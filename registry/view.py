"""What exists, as seen at one revision: a pure fold over batches and listings of `registry/` and `hosts/`.

A `View` is immutable; `apply` and `relist` give the next one. It remembers what was lost without a tombstone, because
empty is not the same as lost (`registry.presence`), and the zone of a host that is away. A record that cannot be read
leaves what was known of its key in place and is told in `invalid`.

Invariants: the revision of a fold never falls by `apply`; batches at or below it change nothing; folding any mix of
batches and listings up to a revision confirms exactly the instances that a fresh listing at that revision holds.

What it costs: a batch copies the tables of the services it touches, not the whole; `services` and `endpoints` are
computed once per view and service.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from registry import keys
from registry.model import Endpoint, Host, Instance, Presence, Protocol, Source, Tombstone
from registry.names import InvalidName, ServiceName
from registry.presence import Loss, presence
from registry.records import InvalidRecord, decode_host, decode_instance
from registry.store import Batch, Event, Item, Listing, Revision

_NOTHING = Revision(0)


@dataclass(frozen=True, slots=True)
class Known:
    """An instance, since which revision its key exists, and how it was lost if it was."""

    instance: Instance
    created: Revision
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A host's record and the revision it was last written at; `present` is whether its key is there now."""

    host: Host
    written: Revision
    present: bool = True


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """What a compiler needs to know of a service: never its endpoints."""

    protocol: Protocol
    label_keys: frozenset[str]
    instances: int


@dataclass(slots=True)
class _Listed:
    """The endpoints of a table, none of it lost, and the records of the hosts that they were made with."""

    table: Mapping[str, Known]
    seen: Mapping[str, KnownHost]
    hosts: Mapping[str, KnownHost | None]
    endpoints: tuple[Endpoint, ...]

    def still_holds(self, hosts: Mapping[str, KnownHost]) -> bool:
        """Whether the same would come out again."""
        if self.seen is not hosts:
            if any(hosts.get(name) is not known for name, known in self.hosts.items()):
                return False
            self.seen = hosts
        return True


@dataclass(frozen=True, slots=True)
class View:
    """The registry at `revision`. Made by `empty`, then folded."""

    revision: Revision = _NOTHING
    instances: Mapping[ServiceName, Mapping[str, Known]] = field(default_factory=dict)
    hosts: Mapping[str, KnownHost] = field(default_factory=dict)
    invalid: Mapping[str, str] = field(default_factory=dict)
    _infos: dict[ServiceName, tuple[Mapping[str, Known], ServiceInfo]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """What `services` computed, by the table it was computed from; handed on, since most tables outlive a view."""
    _listed: dict[ServiceName, _Listed] = field(default_factory=dict, compare=False, repr=False)
    """What `endpoints` computed, likewise."""

    @classmethod
    def empty(cls) -> View:
        """Nothing known yet."""
        return cls()

    def __repr__(self) -> str:
        count = sum(len(table) for table in self.instances.values())
        return f"View(revision={self.revision}, services={len(self.instances)}, instances={count}, hosts={len(self.hosts)})"

    def apply(self, batch: Batch, *, now: float) -> View:
        """The view after one revision; `now` in seconds of the reader's own clock."""
        if batch.revision <= self.revision:
            return self
        change = _Change(self)
        for event in batch.events:
            change.take(event, lost_at=batch.revision, now=now)
        return change.view(batch.revision)

    def relist(self, listing: Listing, *, now: float) -> View:
        """The view after a listing of both prefixes: what is not in it any more was lost after this view's revision."""
        change = _Change(self)
        present = {item.key for item in listing.items}
        for key in self._confirmed_keys():
            if key not in present:
                change.take(Event(key, listing.revision, None), lost_at=self.revision, now=now)
        for item in listing.items:
            change.take(Event(item.key, item.mod_revision, item), lost_at=listing.revision, now=now)
        change.forget_invalid(present)
        return change.view(listing.revision)._without_gone(now=now)

    def services(self) -> Mapping[ServiceName, ServiceInfo]:
        """Every service with an instance whose key is there or was lost; its oldest instance says what it speaks."""
        return {name: self._info(name, table) for name, table in sorted(self.instances.items()) if table}

    def endpoints(self, service: ServiceName, *, now: float) -> tuple[Endpoint, ...]:
        """The service's endpoints by instance id; those that are gone are left out. The same object while nothing changed."""
        table = self.instances.get(service)
        if table is None:
            return ()
        kept = self._listed.get(service)
        if kept is not None and kept.table is table and kept.still_holds(self.hosts):
            return kept.endpoints
        hosts = {known.instance.host: self.hosts.get(known.instance.host) for known in table.values()}
        listed = _Listed(table, self.hosts, hosts, self._endpoints(table, now=now))
        # What was lost is called otherwise as time goes by.
        if all(known.loss is None for known in table.values()):
            self._listed[service] = listed
        return listed.endpoints

    def _endpoints(self, table: Mapping[str, Known], *, now: float) -> tuple[Endpoint, ...]:
        found = ((known, self._presence(known, now=now)) for _, known in sorted(table.items()))
        return tuple(self._endpoint(known, seen) for known, seen in found if seen is not Presence.GONE)

    def _without_gone(self, *, now: float) -> View:
        """The same view without the instances that nobody will call again: a fold of months stays small."""
        kept = {
            service: {name: one for name, one in table.items() if self._presence(one, now=now) is not Presence.GONE}
            for service, table in self.instances.items()
        }
        return replace(self, instances={service: table for service, table in kept.items() if table})

    def _info(self, name: ServiceName, table: Mapping[str, Known]) -> ServiceInfo:
        kept = self._infos.get(name)
        if kept is None or kept[0] is not table:
            kept = self._infos[name] = table, _info(table.values())
        return kept[1]

    def _presence(self, known: Known, *, now: float) -> Presence:
        host = self.hosts.get(known.instance.host)
        written = host.written if host is not None and host.present else None
        return presence(known.loss, host_written=written, now=now)

    def _endpoint(self, known: Known, seen: Presence) -> Endpoint:
        instance = known.instance
        host = self.hosts.get(instance.host)
        return Endpoint(
            service=instance.service,
            instance=instance.id,
            host=instance.host,
            address=instance.address,
            port=instance.port,
            protocol=instance.protocol,
            state=instance.state,
            presence=seen,
            source=Source.ETCD,
            weight=instance.weight,
            zone=host.host.zone if host is not None else "",
            version=instance.version,
            labels=instance.labels,
        )

    def _confirmed_keys(self) -> Iterable[str]:
        for service, table in self.instances.items():
            for name, known in table.items():
                if known.loss is None:
                    yield keys.instance(service, name)
        for name, host in self.hosts.items():
            if host.present:
                yield keys.host(name)


class _Change:
    """The next view in the making: copies only the tables that are touched."""

    def __init__(self, before: View) -> None:
        self._instances = dict(before.instances)
        self._copied: set[ServiceName] = set()
        self._hosts: Mapping[str, KnownHost] = before.hosts
        self._own_hosts: dict[str, KnownHost] | None = None
        self._invalid = dict(before.invalid)
        self._infos = before._infos
        self._listed = before._listed

    def take(self, event: Event, *, lost_at: Revision, now: float) -> None:
        self._invalid.pop(event.key, None)
        try:
            if event.key.startswith(keys.REGISTRY):
                self._instance(event, lost_at=lost_at, now=now)
            elif event.key.startswith(keys.HOSTS):
                self._host(event)
        except (InvalidRecord, InvalidName) as error:
            if event.item is not None:
                self._invalid[event.key] = str(error)

    def forget_invalid(self, present: Container[str]) -> None:
        self._invalid = {key: why for key, why in self._invalid.items() if key in present}

    def view(self, revision: Revision) -> View:
        return View(revision, self._instances, self._hosts, self._invalid, self._infos, self._listed)

    def _instance(self, event: Event, *, lost_at: Revision, now: float) -> None:
        service, name = keys.parse_instance(event.key)
        if event.item is None:
            known = self._instances.get(service, {}).get(name)
            if known is not None and known.loss is None:
                self._table(service)[name] = replace(known, loss=Loss(lost_at, now))
            return
        record = decode_instance(event.key, event.item.value)
        if not isinstance(record, Tombstone):
            found = Known(record, event.item.create_revision)
            if self._instances.get(service, {}).get(name) == found:
                return
        table = self._table(service)
        if isinstance(record, Tombstone):
            table.pop(name, None)
            if not table:
                del self._instances[service]
                self._infos.pop(service, None)
                self._listed.pop(service, None)
        else:
            table[name] = found

    def _host(self, event: Event) -> None:
        name = event.key.removeprefix(keys.HOSTS)
        if event.item is None:
            known = self._hosts.get(name)
            if known is not None:
                self._put_host(name, replace(known, present=False))
            return
        found = _host_of(event.item)
        if self._hosts.get(name) != found:
            self._put_host(name, found)

    def _put_host(self, name: str, known: KnownHost) -> None:
        if self._own_hosts is None:
            self._hosts = self._own_hosts = dict(self._hosts)
        self._own_hosts[name] = known

    def _table(self, service: ServiceName) -> dict[str, Known]:
        table = self._instances.get(service)
        if table is None or service not in self._copied:
            table = dict(table or {})
            self._instances[service] = table
            self._copied.add(service)
        assert isinstance(table, dict)
        return table


def _host_of(item: Item) -> KnownHost:
    return KnownHost(decode_host(item.key, item.value), item.mod_revision)


def _info(table: Iterable[Known]) -> ServiceInfo:
    known = sorted(table, key=lambda one: (one.created, one.instance.id))
    labels = frozenset(key for one in known for key in one.instance.labels)
    versioned = frozenset({"version"}) if any(one.instance.version for one in known) else frozenset()
    return ServiceInfo(known[0].instance.protocol, labels | versioned, len(known))
