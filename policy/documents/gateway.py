"""`Gateway`: an edge. It lives in the namespace `mesh`, and its name is the gateway's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from policy.documents.fields import File, Host, Name, Network, Port, Spec, Text, fault, no_repeats, words

Protocol = Literal["http", "https", "tls"]
_LATER = {
    "tcp": "write tls, and the server name says where it goes",
    "grpc": "write http or https",
    "http2": "write http or https",
}
TlsVersion = Literal["1.2", "1.3"]


class CertificateSpec(Spec):
    """Files on the gateway's host, re-read when they change."""

    cert_file: File
    key_file: File


class TlsSpec(Spec):
    """Which certificates a listener shows; the first where no server name fits."""

    min: Annotated[TlsVersion, words(TlsVersion)] = "1.2"
    certificates: list[CertificateSpec] = Field(min_length=1, max_length=1_000)


class ProxyProtocolSpec(Spec):
    """Whose connections begin with a PROXY header: balancers, by their networks."""

    networks: list[Network] = Field(min_length=1, max_length=500, alias="from")


class ListenerSpec(Spec):
    """One public port."""

    name: Name
    port: Port
    protocol: Annotated[Protocol, words(Protocol, later=_LATER)]
    hosts: list[Host] | None = Field(default=None, min_length=1, max_length=1_000)
    redirect_to: Name | None = None
    tls: TlsSpec | None = None
    proxy_protocol: ProxyProtocolSpec | None = None

    @model_validator(mode="after")
    def _tls_where_it_belongs(self) -> ListenerSpec:
        if self.protocol == "https" and self.tls is None:
            raise fault("missing_field", "an https listener needs tls with certificates")
        if self.protocol == "http" and self.tls is not None:
            raise fault("exclusive_fields", "an http listener has no tls: write protocol: https")
        if self.protocol == "tls" and self.tls is not None:
            raise fault(
                "exclusive_fields",
                "a tls listener passes TLS on as it is, and the service shows its own certificates: "
                "write protocol: https to end it here",
            )
        if self.protocol == "tls" and self.redirect_to is not None:
            raise fault("exclusive_fields", "a tls listener answers nobody, and so cannot redirect")
        return self


class GatewaySpec(Spec):
    """Listeners, the hosts that serve them, and whose forwarding headers are believed."""

    hosts_with: dict[Text, Text] = Field(default={}, max_length=20)
    listeners: list[ListenerSpec] = Field(min_length=1, max_length=100)
    trust_forwarded_from: list[Network] = Field(default=[], max_length=500)

    @model_validator(mode="after")
    def _listeners_agree(self) -> GatewaySpec:
        names = [listener.name for listener in self.listeners]
        no_repeats("the listener name", names)
        no_repeats("the port", [str(listener.port) for listener in self.listeners])
        passing = {listener.name for listener in self.listeners if listener.protocol == "tls"}
        for listener in self.listeners:
            if listener.redirect_to in passing:
                raise fault(
                    "unknown_listener",
                    f"listener {listener.name!r} redirects to {listener.redirect_to!r}, which takes no requests",
                )
            if listener.redirect_to is not None and listener.redirect_to not in set(names) - {listener.name}:
                raise fault(
                    "unknown_listener",
                    f"listener {listener.name!r} redirects to {listener.redirect_to!r}, which is no other listener here",
                )
        return self
