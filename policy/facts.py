"""What the compiler knows of services: protocol and label keys, folded from the keys below `registry/`. Pure.

Endpoints come and go without anything changing here; a service's facts change when its first instance appears, its last
one goes, or the set of labels its instances carry does.
"""

from __future__ import annotations

import logging

from policy.compile import ServiceFacts
from registry.model import Instance, Protocol
from registry.names import ServiceName
from registry.records import InvalidRecord, decode_instance

logger = logging.getLogger(__name__)

_Told = tuple[ServiceName, Protocol, frozenset[str]]
"""What one instance says: its service, its protocol, the labels it carries."""


class Facts:
    """The services there are, kept up to date by whoever feeds it the keys below `registry/`."""

    def __init__(self) -> None:
        self._instances: dict[str, _Told] = {}
        self._members: dict[ServiceName, dict[str, _Told]] = {}
        self._services: dict[ServiceName, ServiceFacts] = {}

    def take(self, key: str, value: bytes | None) -> bool:
        """One key changed (None: deleted); whether that can matter to the compiler."""
        told = None if value is None else _read(key, value)
        known = self._instances.get(key)
        if told == known:
            return False
        if told is None:
            del self._instances[key]
        else:
            self._instances[key] = told
        changed = False
        for service in {one[0] for one in (told, known) if one is not None}:
            changed |= self._fold(service, key, told)
        return changed

    def services(self) -> dict[ServiceName, ServiceFacts]:
        """Every service with at least one registered instance. Where instances contradict each other the first key decides."""
        return dict(self._services)

    def _fold(self, service: ServiceName, key: str, told: _Told | None) -> bool:
        """Find out again what is true of one service; whether that changed."""
        members = self._members.setdefault(service, {})
        if told is None or told[0] != service:
            members.pop(key, None)
        else:
            members[key] = told
        facts = None
        if members:
            _, protocol, _ = members[min(members)]
            facts = ServiceFacts(protocol, frozenset().union(*(labels for _, _, labels in members.values())))
        if facts == self._services.get(service):
            return False
        if facts is None:
            del self._services[service], self._members[service]
        else:
            self._services[service] = facts
        return True


def _read(key: str, value: bytes) -> _Told | None:
    try:
        record = decode_instance(key, value)
    except InvalidRecord as error:
        logger.warning("a registration cannot be read", extra={"key": key, "error": str(error)})
        return None
    if not isinstance(record, Instance):
        return None
    return record.service, record.protocol, frozenset(record.labels) | {"version"}
