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


class Facts:
    """The services there are, kept up to date by whoever feeds it the keys below `registry/`."""

    def __init__(self) -> None:
        self._instances: dict[str, tuple[ServiceName, Protocol, frozenset[str]]] = {}
        self._dirty: bool = True
        self._services: dict[ServiceName, ServiceFacts] = {}

    def take(self, key: str, value: bytes | None) -> bool:
        """One key changed (None: deleted); whether that can matter to the compiler."""
        told = None if value is None else _read(key, value)
        if told == self._instances.get(key):
            return False
        if told is None:
            del self._instances[key]
        else:
            self._instances[key] = told
        before, self._dirty = self.services(), True
        return self.services() != before

    def services(self) -> dict[ServiceName, ServiceFacts]:
        """Every service with at least one registered instance. Where instances contradict each other the first key decides."""
        if self._dirty:
            self._services = self._folded()
            self._dirty = False
        return self._services

    def _folded(self) -> dict[ServiceName, ServiceFacts]:
        found: dict[ServiceName, ServiceFacts] = {}
        for key in sorted(self._instances):
            service, protocol, labels = self._instances[key]
            known = found.get(service)
            found[service] = (
                ServiceFacts(known.protocol, known.label_keys | labels) if known else ServiceFacts(protocol, labels)
            )
        return found


def _read(key: str, value: bytes) -> tuple[ServiceName, Protocol, frozenset[str]] | None:
    try:
        record = decode_instance(key, value)
    except InvalidRecord as error:
        logger.warning("a registration cannot be read", extra={"key": key, "error": str(error)})
        return None
    if not isinstance(record, Instance):
        return None
    return record.service, record.protocol, frozenset(record.labels) | {"version"}
