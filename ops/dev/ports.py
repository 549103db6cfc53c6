"""The ports of a mesh on this machine: the documented ones, or free ones (`--ports auto`).

Every one is claimed for as long as the mesh lives, so that two meshes never share one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from proxy.ports import PortClaims


@dataclass(frozen=True, slots=True)
class Ports:
    """All on loopback. Defaults as in DESIGN.md section 1; etcd is private and keeps off its usual ports."""

    agent: int = 7500
    inbound: int = 7502
    metrics: int = 7503
    controller: int = 7510
    hosts: int = 7520
    gateway_agent: int = 7530
    gateway_metrics: int = 7533
    gateway_https: int = 7543
    etcd: int = 7570
    etcd_peers: int = 7571
    gateway_http: int = 7580


def claim_ports(claims: PortClaims, *, auto: bool) -> Ports:
    """Claim them all; raises `NoPortError` that names the one in use."""
    if auto:
        return Ports(**{field.name: claims.claim() for field in fields(Ports)})
    ports = Ports()
    for field in fields(Ports):
        claims.claim(getattr(ports, field.name))
    return ports
