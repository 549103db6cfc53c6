"""The instances of this host: its own list, which is the truth, kept on disk.

Registered by a program or a file; found up or down by checks; drained and deregistered by whoever asks. What the registry
should hold of each is computed here, from these four: the last state, whether it drains, whether its service has a
certificate. Every change is on disk before it is told to anybody, so that a restart of the agent neither forgets nor
unlists anything; after a reboot all start again.

How it fails: `OSError` where the disk does not take it; then nothing was promised.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from proxy.keep import read_file, replace_file
from registry.model import Instance, State
from registry.names import ServiceName
from registry.registration import InvalidRegistration, Registration, parse_registration, to_plain

logger = logging.getLogger(__name__)

Key = tuple[ServiceName, str]

NO_CERTIFICATE = "no certificate"


@dataclass(frozen=True, slots=True)
class Kept:
    """A registration and what became of it. `since` and `failing_since` are seconds since the epoch, by this host's clock."""

    registration: Registration
    state: State
    since: float
    why: str = ""
    drain: bool = False
    certified: bool = False
    """Whether its service had a certificate in the engine at any time: only then is it offered to anybody."""
    failing_since: float | None = None
    source: str = "api"
    """`api`, or the file of `services.d` it came from."""

    @property
    def key(self) -> Key:
        """Service and instance id."""
        return self.registration.service, self.registration.id

    @property
    def told(self) -> tuple[State, str]:
        """The state the registry should hold, and why."""
        if self.drain:
            return State.DRAIN, self.why or "drained"
        if self.state is State.UP and not self.certified:
            return State.DOWN, NO_CERTIFICATE
        return self.state, self.why

    def instance(self, *, host: str, address: str) -> Instance:
        """What is stored of it."""
        wanted = self.registration
        state, why = self.told
        return Instance(
            service=wanted.service,
            id=wanted.id,
            host=host,
            address=address,
            port=wanted.port,
            protocol=wanted.protocol,
            state=state,
            version=wanted.version,
            labels=wanted.labels,
            weight=wanted.weight,
            since=self.since,
            why=why,
        )


class Registrations:
    """This host's instances and the tombstones still owed to the registry."""

    def __init__(self, path: Path, *, boot_id: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._boot_id = boot_id
        self._clock = clock
        self._kept: dict[Key, Kept] = {}
        self._tombstones: dict[Key, float] = {}
        self._load()

    def __repr__(self) -> str:
        return f"Registrations({ {f'{service}/{id_}': kept.told[0].value for (service, id_), kept in self._kept.items()} })"

    @property
    def all(self) -> Mapping[Key, Kept]:
        """Every instance of this host."""
        return self._kept

    @property
    def tombstones(self) -> Mapping[Key, float]:
        """Instances that are gone and when, until the registry has heard of it."""
        return self._tombstones

    def put(self, registration: Registration, *, source: str = "api") -> bool:
        """Make it so; whether anything changed. A different port or check starts the instance anew."""
        key = (registration.service, registration.id)
        before = self._kept.get(key)
        if before is not None and before.registration == registration and not before.drain and before.source == source:
            return False
        now = self._clock()
        certified = any(kept.certified for (service, _), kept in self._kept.items() if service == registration.service)
        fresh = Kept(registration, State.STARTING, now, certified=certified, failing_since=now, source=source)
        if before is not None and before.registration.port == registration.port:
            fresh = replace(before, registration=registration, drain=False, source=source, since=now)
        self._tombstones.pop(key, None)
        self._keep(fresh)
        return True

    def remove(self, key: Key) -> bool:
        """Forget it and owe the registry a tombstone; whether it was there."""
        if self._kept.pop(key, None) is None:
            return False
        self._tombstones[key] = self._clock()
        self._save()
        return True

    def buried(self, key: Key) -> None:
        """The registry has the tombstone."""
        if self._tombstones.pop(key, None) is not None:
            self._save()

    def drain(self, key: Key) -> bool:
        """Finish what is open, take no more; whether that is new. A later `put` takes it back."""
        kept = self._kept[key]
        if kept.drain:
            return False
        self._keep(replace(kept, drain=True, since=self._clock(), why=""))
        return True

    def judged(self, key: Key, state: State, why: str) -> bool:
        """What the checks say now; whether that changes anything."""
        kept = self._kept.get(key)
        if kept is None or (kept.state, kept.why) == (state, why):
            return False
        now = self._clock()
        failing = None if state is State.UP else (kept.failing_since or now)
        self._keep(replace(kept, state=state, why=why, since=now, failing_since=failing))
        return True

    def certify(self, service: ServiceName) -> bool:
        """Its service has a certificate in the engine; whether that is new."""
        waiting = [kept for kept in self._kept.values() if kept.registration.service == service and not kept.certified]
        for kept in waiting:
            self._kept[kept.key] = replace(kept, certified=True)
        if waiting:
            self._save()
        return bool(waiting)

    def expired(self) -> list[Key]:
        """Those that have been without a passing check for longer than they said."""
        now = self._clock()
        return [
            key
            for key, kept in self._kept.items()
            if kept.failing_since is not None
            and kept.registration.deregister_after is not None
            and now - kept.failing_since > kept.registration.deregister_after
        ]

    def _keep(self, kept: Kept) -> None:
        self._kept[kept.key] = kept
        self._save()

    def _save(self) -> None:
        plain = {
            "boot_id": self._boot_id,
            "instances": [_to_plain(kept) for _, kept in sorted(self._kept.items())],
            "tombstones": [[str(service), id_, at] for (service, id_), at in sorted(self._tombstones.items())],
        }
        replace_file(self._path, orjson.dumps(plain, option=orjson.OPT_INDENT_2))

    def _load(self) -> None:
        content = read_file(self._path)
        if content is None:
            return
        plain = orjson.loads(content)
        rebooted = plain["boot_id"] != self._boot_id
        for entry in plain["instances"]:
            try:
                kept = _from_plain(entry)
            except InvalidRegistration as error:
                logger.error("a kept registration is dropped", extra={"file": str(self._path), "error": str(error)})
                continue
            if rebooted:
                now = self._clock()
                kept = replace(kept, state=State.STARTING, since=now, why="", failing_since=kept.failing_since or now)
            self._kept[kept.key] = kept
        self._tombstones = {(ServiceName.parse(service), id_): at for service, id_, at in plain["tombstones"]}


def of_service(kept: Iterable[Kept], service: ServiceName) -> list[Kept]:
    """Those that are instances of one service."""
    return [one for one in kept if one.registration.service == service]


def _to_plain(kept: Kept) -> dict[str, object]:
    return {
        "service": kept.registration.service.name,
        "id": kept.registration.id,
        "registration": to_plain(kept.registration),
        "state": kept.state.value,
        "since": kept.since,
        "why": kept.why,
        "drain": kept.drain,
        "certified": kept.certified,
        "failing_since": kept.failing_since,
        "source": kept.source,
    }


def _from_plain(entry: Mapping[str, object]) -> Kept:
    failing = entry["failing_since"]
    return Kept(
        registration=parse_registration(
            entry["registration"],
            service=str(entry["service"]),
            instance=str(entry["id"]),
            from_file=entry["source"] != "api",
        ),
        state=State(entry["state"]),
        since=float(str(entry["since"])),
        why=str(entry["why"]),
        drain=bool(entry["drain"]),
        certified=bool(entry["certified"]),
        failing_since=None if failing is None else float(str(failing)),
        source=str(entry["source"]),
    )
