"""Where a request comes in: what a person named, turned into a listener of one of the worlds. Pure.

A URL means the listener on its port. A service means the port that its caller has for it, as `weft explain api --as web`
says; one that is not there on this host is thought of, and that is told.

How it fails: `NoDoorError`, with what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult

from ops.explain.world import World
from proxy import sections
from registry.names import InvalidName, ServiceName, SpiffeId, check_name

PORTS = {"http": 80, "https": 443}
GATEWAY = "gateway:"
CALLED = "the called service's side"
"""Where only that is asked."""
OWN = "the caller's port"
"""One that is not there on this host, or of which only the store is known."""


class NoDoorError(Exception):
    """Nothing that is known here takes this request."""

    code = "no_door"


class UnknownCallerError(Exception):
    """Who calls has to be said."""

    code = "unknown_caller"


@dataclass(frozen=True, slots=True)
class Door:
    """A listener, and as whom one calls there. `service` is only said where the called engine is asked at once."""

    world: World
    listener: str
    address: str
    caller: str
    host: str
    service: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        what = {"asked": OWN, sections.INBOUND.removeprefix("listener/"): CALLED}
        return what.get(self.listener, self.listener if self.address else OWN)


def of_url(worlds: Sequence[World], url: SplitResult, *, caller: str | None) -> Door:
    """The listener on a URL's port; raises `NoDoorError`, `UnknownCallerError`."""
    port = url.port or PORTS.get(url.scheme)
    if port is None or url.hostname is None:
        raise NoDoorError(f"{url.geturl()!r} is no http or https URL: write http://host:port/path")
    places = [
        (world, name, listener)
        for world in worlds
        for name, listener in world.listeners()
        if _port(listener.address) == port
    ]
    if not places:
        raise NoDoorError(f"nothing listens on port {port} here; there are {_listed(worlds)}")
    world, name, listener = min(places, key=lambda place: _host(place[2].address) != url.hostname)
    if isinstance(listener, sections.Inbound):
        raise NoDoorError(
            f"port {port} takes mutual TLS from other engines: name the service, and the caller with --as"
        )
    if isinstance(listener, sections.Public) and _passes_on(world, listener):
        raise NoDoorError(
            f"port {port} passes TLS on as it is: no request can be seen there; name the service behind it"
        )
    own = f"{GATEWAY}{listener.gateway}" if isinstance(listener, sections.Public) else listener.caller
    if caller is not None and caller != own:
        raise UnknownCallerError(f"whoever calls at port {port} calls as {own}: leave --as out, or name the service")
    return Door(world, name, listener.address, own, url.netloc.rpartition("@")[2])


def of_service(worlds: Sequence[World], service: ServiceName, *, caller: str | None) -> Door:
    """The port of a caller for a service; raises `NoDoorError`, `UnknownCallerError`."""
    name = str(service)
    if caller is not None and caller.startswith((GATEWAY, "spiffe://")):
        return Door(
            _knowing(worlds, name), sections.INBOUND.removeprefix("listener/"), "", caller, service.name, service=name
        )
    there = [
        (world, key, listener)
        for world in worlds
        for key, listener in world.listeners()
        if isinstance(listener, sections.Outbound) and listener.upstream == name and caller in (None, listener.caller)
    ]
    callers = sorted({listener.caller for _, _, listener in there})
    if len(callers) > 1 or (caller is None and not there):
        known = f": {', '.join(callers)} call it here" if callers else ""
        raise UnknownCallerError(f"say who calls {name} with --as, such as --as web or --as gateway:edge{known}")
    if there:
        world, key, listener = there[0]
        address = listener.address if world.of_engine else ""
        return Door(world, key, address, listener.caller, service.name)
    assert caller is not None
    world, key = _knowing(worlds, name).with_outbound(caller, name)
    said = f"{caller} has no port for {name} here: this is what would happen if it had"
    return Door(world, key, "", caller, service.name, notes=(said,) if world.of_engine else ())


def identity(caller: str, world: World) -> str:
    """Whom a caller's certificate names, as a SPIFFE ID."""
    domain, datacenter = world.host.trust_domain, world.host.datacenter
    if caller.startswith("spiffe://"):
        return caller
    if caller.startswith(GATEWAY):
        return str(SpiffeId.of_gateway(domain, datacenter, caller.removeprefix(GATEWAY)))
    return str(SpiffeId.of_service(domain, datacenter, ServiceName.parse(caller)))


def caller_of(text: str, *, namespace: str) -> str:
    """`web`, `shop/web`, `gateway:edge` or a SPIFFE ID, as sections name it; raises `InvalidName`."""
    if text.startswith("spiffe://"):
        id_ = SpiffeId.parse(text)
        return str(id_.service or id_)
    if text.startswith(GATEWAY):
        return GATEWAY + check_name(text.removeprefix(GATEWAY), what="gateway")
    if text.endswith("*"):
        raise InvalidName(f"{text!r} is nobody: name one caller, such as web, shop/web or gateway:edge")
    return str(ServiceName.parse(text, namespace=namespace))


def _passes_on(world: World, listener: sections.Public) -> bool:
    gateway = world.gateway(listener.gateway)
    found = gateway.listeners.get(listener.listener) if gateway else None
    return found is not None and found.protocol == "tls"


def _knowing(worlds: Sequence[World], service: str) -> World:
    for world in worlds:
        if f"service/{service}" in world.snapshot:
            return world
    known = sorted({name.removeprefix("service/") for world in worlds for name in world.snapshot if "service/" in name})
    raise NoDoorError(f"{service} is not known here; there are {', '.join(known) or 'no services'}")


def _listed(worlds: Iterable[World]) -> str:
    found: dict[str, str] = {}
    for world in worlds:
        found |= {listener.address: _named(listener) for _, listener in world.listeners()}
    return ", ".join(f"{address} ({name})" for address, name in sorted(found.items())) or "no listeners"


def _named(listener: sections.Listener) -> str:
    match listener:
        case sections.Outbound():
            return f"{listener.caller} to {listener.upstream}"
        case sections.Public():
            return f"{GATEWAY}{listener.gateway}, {listener.listener}"
        case sections.Open():
            return "every service, by its name"
        case _:
            return "mutual TLS"


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def with_default(headers: Sequence[tuple[str, str]], door: Door) -> tuple[Door, tuple[tuple[str, str], ...]]:
    """A Host field that was said stands in place of the door's own."""
    rest = tuple((name, value) for name, value in headers if name.lower() != "host")
    said = next((value for name, value in headers if name.lower() == "host"), None)
    return (door if said is None else replace(door, host=said)), rest
