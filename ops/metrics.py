"""The controller's metrics, in a registry of their own: what it signs, whom it refuses, whether it leads, how fresh it is."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ControllerMetrics:
    """One per controller process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leading = Gauge(
            "weft_controller_leading", "1 while this controller compiles policy", registry=self.registry
        )
        self.stale = Gauge("weft_controller_stale", "1 while the store cannot be followed", registry=self.registry)
        self.revision = Gauge(
            "weft_controller_members_revision", "Revision of roster and trust as known here", registry=self.registry
        )
        self.hosts = Gauge("weft_controller_roster_hosts", "Hosts on the roster", registry=self.registry)
        self.signed = Counter(
            "weft_controller_certificates_signed", "Certificates signed for hosts", ["kind"], registry=self.registry
        )
        self.refused = Counter(
            "weft_controller_requests_refused", "Requests of hosts refused, by code", ["code"], registry=self.registry
        )

    def render(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)
