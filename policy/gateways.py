"""Gateway documents to what is compiled for an edge. Pure."""

from __future__ import annotations

from policy import compiled
from policy.documents.gateway import GatewaySpec, ListenerSpec


def gateway(
    spec: GatewaySpec,
    *,
    routes: tuple[compiled.Route, ...],
    passthrough: tuple[compiled.Route, ...],
    limits: tuple[compiled.Limit, ...],
    max_body: int,
) -> compiled.Gateway:
    """`compiled/gateway/<name>`, from its document, the Routes and Limits that name it, and Defaults."""
    return compiled.Gateway(
        hosts_with=dict(spec.hosts_with),
        listeners={listener.name: _listener(listener) for listener in spec.listeners},
        routes=routes,
        passthrough=passthrough,
        trust_forwarded_from=tuple(spec.trust_forwarded_from),
        max_body=max_body,
        limits=limits,
    )


def _listener(spec: ListenerSpec) -> compiled.GatewayListener:
    return compiled.GatewayListener(
        port=spec.port,
        protocol=spec.protocol,
        hosts=() if "*" in (spec.hosts or ()) else tuple(spec.hosts or ()),
        redirect_to=spec.redirect_to,
        tls_min=spec.tls.min if spec.tls else "1.2",
        certificates=tuple(
            compiled.CertificateFiles(cert.cert_file, cert.key_file)
            for cert in (spec.tls.certificates if spec.tls else ())
        ),
        proxy_protocol_from=tuple(spec.proxy_protocol.networks) if spec.proxy_protocol else (),
    )
