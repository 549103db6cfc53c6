"""The host's part in multicast DNS: what it announces, and whom it hears (DESIGN.md section 8).

Always announced and always heard where it is switched on; used only while the store's view is older than `TRUST_STORE_FOR`
or where no store is configured, and where the store knows an instance, the store wins: mDNS only adds.

How it fails: it does not end. Where multicast does not work, start-up says so and why, for each interface; it is tried
again every minute, because interfaces come up late.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from registry.announcements import Announcement, Neighbours
from registry.mdns import Multicast, MulticastError, multicast_problem, open_multicast
from registry.model import Endpoint, Instance, Protocol, State
from registry.names import ServiceName

logger = logging.getLogger(__name__)

TRUST_STORE_FOR = 30.0
TRY_AGAIN = 60.0
LOOK_EVERY = 10.0
LOOK_FIRST = 0.1
SETTLE = 0.05


class Neighbourhood:
    """Who else is on these networks. `changed` is called after every change of what can be read here."""

    def __init__(
        self,
        *,
        host: str,
        zone: str,
        interfaces: Sequence[str],
        domain: Callable[[], tuple[str, str] | None],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._zone = zone
        self._interfaces = tuple(interfaces)
        self._domain = domain
        self._changed = changed
        self._clock = clock
        self._host = host
        self._neighbours = Neighbours("", host)
        self._wanted: frozenset[Announcement] | tuple[Announcement, ...] = ()
        self._wake = asyncio.Event()
        self.problems: dict[str, str] = {}
        """Why multicast does not work, by interface."""

    def __repr__(self) -> str:
        return f"Neighbourhood(heard={len(self._neighbours.by_label)}, problems={self.problems})"

    @property
    def services(self) -> Mapping[ServiceName, Protocol]:
        """Services that were heard of."""
        return self._neighbours.services()

    def endpoints(self, service: ServiceName) -> tuple[Endpoint, ...]:
        """What was heard of a service's instances."""
        return self._neighbours.endpoints(service)

    def announce(self, trust_domain: str, instances: Iterable[Instance]) -> None:
        """What this host announces from now on: of these, those that take requests or finish what they have."""
        wanted = tuple(
            Announcement(trust_domain, instance, self._zone)
            for instance in instances
            if instance.state in (State.UP, State.DRAIN)
        )
        if wanted != self._wanted:
            self._wanted = wanted
            self._wake.set()

    async def run(self) -> None:
        """Announce and hear, for ever, once it is known which mesh this is."""
        while (found := self._domain()) is None:  # noqa: ASYNC110 (known once, at start: not worth an event)
            await asyncio.sleep(LOOK_FIRST)
        self._neighbours = Neighbours(found[0], self._host)
        while True:
            await self._look()
            try:
                async with open_multicast(self._interfaces) as multicast, asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._hear(multicast))
                    tasks.create_task(self._speak(multicast))
                    tasks.create_task(self._forget())
            except* (MulticastError, OSError) as failures:
                for failure in failures.exceptions:
                    logger.error("multicast DNS does not work", extra={"error": str(failure)})
            await asyncio.sleep(TRY_AGAIN)

    async def _look(self) -> None:
        for interface in self._interfaces:
            problem = None if ":" in interface else await multicast_problem(interface)
            if problem is None:
                self.problems.pop(interface, None)
            else:
                self.problems[interface] = problem
                logger.warning(
                    "multicast does not work here: neighbours can be found through etcd only",
                    extra={"interface": interface, "error": problem},
                )

    async def _hear(self, multicast: Multicast) -> None:
        async for change in multicast.changes():
            before = self._neighbours
            self._neighbours = before.apply(change, now=self._clock())
            if self._neighbours.by_label != before.by_label:
                self._changed()

    async def _speak(self, multicast: Multicast) -> None:
        while True:
            self._wake.clear()
            await multicast.announce(self._wanted)
            await self._wake.wait()
            await asyncio.sleep(SETTLE)

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            before = self._neighbours
            self._neighbours = before.forget(now=self._clock())
            if self._neighbours is not before:
                self._changed()


def added(known: Iterable[Endpoint], heard: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The store's endpoints and those heard of that it does not know; an instance is known by host and id."""
    stored = tuple(known)
    seen = {(endpoint.host, endpoint.instance) for endpoint in stored}
    return (*stored, *(endpoint for endpoint in heard if (endpoint.host, endpoint.instance) not in seen))
