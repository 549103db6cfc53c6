"""What a gateway's document means on one gateway host: PURE.

A compiled gateway becomes the engine's listeners (one for each public port) and its `gateway/<name>` section. A host serves
the gateway it is configured as, and only where it carries every label in `hosts_with`; elsewhere it opens no public port.
"""

from __future__ import annotations

from collections.abc import Mapping

from policy.compiled import Gateway, GatewayListener
from proxy import sections
from proxy.config import join_address
from proxy.snapshot import Edge


def edge(name: str, gateway: Gateway, *, labels: Mapping[str, str], address: str) -> Edge | None:
    """The gateway's part of a host's snapshot, its public ports on `address`; None where this host does not serve it."""
    if any(labels.get(label) != value for label, value in gateway.hosts_with.items()):
        return None
    return Edge(
        name=name,
        listeners={
            sections.public(listener): sections.Public(join_address(address, found.port), name, listener)
            for listener, found in gateway.listeners.items()
        },
        gateway=sections.Gateway(
            listeners={
                listener: _listener(name, listener, found, gateway.listeners)
                for listener, found in gateway.listeners.items()
            },
            routes=gateway.routes,
            passthrough=gateway.passthrough,
            trust_forwarded_from=gateway.trust_forwarded_from,
            max_body=gateway.max_body,
            limits=gateway.limits,
        ),
    )


def certificate_name(gateway: str, listener: str, index: int) -> str:
    """What an engine calls a public certificate: `public/<gateway>/<listener>/<n>`."""
    return f"public/{gateway}/{listener}/{index}"


def _listener(
    gateway: str, name: str, found: GatewayListener, others: Mapping[str, GatewayListener]
) -> sections.GatewayListener:
    return sections.GatewayListener(
        protocol=found.protocol,
        hosts=found.hosts,
        redirect_to=_redirect(found.redirect_to, others),
        certificates=tuple(certificate_name(gateway, name, index) for index in range(len(found.certificates))),
        tls_min=found.tls_min,
        proxy_protocol_from=found.proxy_protocol_from,
    )


def _redirect(name: str | None, others: Mapping[str, GatewayListener]) -> sections.RedirectTo | None:
    """Where the named listener is; the compiler has refused a name that is not there."""
    if name is None or name not in others:
        return None
    scheme = others[name].protocol
    return None if scheme == "tls" else sections.RedirectTo(scheme, others[name].port)
