"""What a name may be, and what an identity looks like.

Every namespace, service, host, instance and document name is a DNS label, because each of them becomes part of an etcd
key, of a TLS server name or of a SPIFFE ID, and a label is legal in all three. Parsing happens here and at the edge;
inside, a `ServiceName` or a `SpiffeId` is already true.

Source of the identity form: DESIGN.md section 7 (the form Consul Connect uses); the SPIFFE ID rules are those of the
SPIFFE-ID standard, section 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

DEFAULT_NAMESPACE = "default"
MESH_NAMESPACE = "mesh"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TRUST_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?")


class InvalidName(ValueError):
    """A name, service name or SPIFFE ID that cannot be built. `code` is permanent; the message says what to write."""

    code = "invalid_name"


def is_name(text: str) -> bool:
    """Whether `text` is a DNS label as Weft uses it: 1 to 63 of `a-z 0-9 -`, no hyphen at either end."""
    return _LABEL.fullmatch(text) is not None


def check_name(text: str, *, what: str = "name") -> str:
    """`text` itself if it is a name; raises `InvalidName` that says what is allowed."""
    if not is_name(text):
        raise InvalidName(
            f"{what} {text!r} is not a name: write 1 to 63 lower-case letters, digits and hyphens, "
            "with a letter or digit at both ends"
        )
    return text


@dataclass(frozen=True, slots=True, order=True)
class ServiceName:
    """A service in its namespace; written `shop/api`."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        check_name(self.namespace, what="namespace")
        check_name(self.name, what="service")

    @classmethod
    def parse(cls, text: str, *, namespace: str = DEFAULT_NAMESPACE) -> ServiceName:
        """`api` (in `namespace`) or `shop/api`; raises `InvalidName`."""
        head, slash, tail = text.partition("/")
        return cls(head, tail) if slash else cls(namespace, head)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class IdentityKind(Enum):
    """Who a SPIFFE ID of this mesh can name."""

    SERVICE = "service"
    GATEWAY = "gateway"
    HOST = "host"
    CONTROLLER = "controller"


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """A SPIFFE ID: a trust domain and a path. `str()` gives the URI."""

    trust_domain: str
    path: str

    def __post_init__(self) -> None:
        if _TRUST_DOMAIN.fullmatch(self.trust_domain) is None:
            raise InvalidName(f"trust domain {self.trust_domain!r}: write lower-case letters, digits, '.', '-' and '_'")
        segments = self.path.split("/")[1:]
        if not self.path.startswith("/") or not segments:
            raise InvalidName(f"SPIFFE ID path {self.path!r} must start with '/' and name somebody")
        for segment in segments:
            if segment in ("", ".", "..") or re.fullmatch(r"[A-Za-z0-9._-]+", segment) is None:
                raise InvalidName(f"SPIFFE ID path {self.path!r} has the segment {segment!r}, which SPIFFE forbids")
        if len(str(self)) > 2048:
            raise InvalidName("a SPIFFE ID has at most 2048 bytes")

    @classmethod
    def parse(cls, uri: str) -> SpiffeId:
        """The ID in `spiffe://<trust-domain>/<path>`; raises `InvalidName`."""
        if not uri.startswith("spiffe://"):
            raise InvalidName(f"{uri!r} is not a SPIFFE ID: it must start with 'spiffe://'")
        domain, slash, path = uri[len("spiffe://") :].partition("/")
        return cls(domain, slash + path)

    @classmethod
    def of_service(cls, trust_domain: str, datacenter: str, service: ServiceName) -> SpiffeId:
        """`spiffe://<td>/ns/<namespace>/dc/<datacenter>/svc/<service>`."""
        return cls(trust_domain, f"/ns/{service.namespace}/dc/{datacenter}/svc/{service.name}")

    @classmethod
    def of_gateway(cls, trust_domain: str, datacenter: str, gateway: str) -> SpiffeId:
        """`spiffe://<td>/ns/mesh/dc/<datacenter>/gateway/<name>`: what `gateway:edge` means in a document."""
        return cls(trust_domain, f"/ns/{MESH_NAMESPACE}/dc/{datacenter}/gateway/{check_name(gateway, what='gateway')}")

    @classmethod
    def of_host(cls, trust_domain: str, host: str) -> SpiffeId:
        """`spiffe://<td>/host/<host>`: speaks to controllers and relays, never to services."""
        return cls(trust_domain, f"/host/{check_name(host, what='host')}")

    @classmethod
    def of_controller(cls, trust_domain: str, host: str) -> SpiffeId:
        """`spiffe://<td>/controller/<host>`."""
        return cls(trust_domain, f"/controller/{check_name(host, what='host')}")

    @property
    def kind(self) -> IdentityKind | None:
        """Whom this ID names in a mesh of ours, or None where it names nobody we know."""
        match self.path.split("/")[1:]:
            case ["ns", namespace, "dc", datacenter, "svc", name] if all(map(is_name, (namespace, datacenter, name))):
                return IdentityKind.SERVICE
            case ["ns", "mesh", "dc", datacenter, "gateway", name] if is_name(datacenter) and is_name(name):
                return IdentityKind.GATEWAY
            case ["host", name] if is_name(name):
                return IdentityKind.HOST
            case ["controller", name] if is_name(name):
                return IdentityKind.CONTROLLER
            case _:
                return None

    @property
    def service(self) -> ServiceName | None:
        """The service this ID names, or None."""
        if self.kind is not IdentityKind.SERVICE:
            return None
        _, _, namespace, _, _, _, name = self.path.split("/")
        return ServiceName(namespace, name)

    @property
    def last(self) -> str:
        """The last segment: the name of the service, gateway, host or controller."""
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"


def server_name(service: ServiceName, instance: str, trust_domain: str) -> str:
    """The TLS server name that picks one instance of one service: `<instance>.<service>.<ns>.<trust-domain>`."""
    return f"{instance}.{service.name}.{service.namespace}.{trust_domain}"
