"""Every etcd key, built and parsed in this file only (DESIGN.md section 4).

Keys are relative to the root (`/weft/` unless configured): a store is opened with its root and adds it, so that several
meshes share an etcd and nothing else in Weft ever sees an absolute key.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.names import InvalidName, ServiceName, check_name

DEFAULT_ROOT = "/weft/"

META_LAYOUT = "meta/layout"
ROSTER = "roster/"
HOSTS = "hosts/"
REGISTRY = "registry/"
POLICY = "policy/"
PENDING = "pending/"
DRYRUN = "dryrun/"
LASTGOOD = "lastgood/"
STATUS_POLICY = "status/policy/"
STATUS_DRYRUN = "status/dryrun/"
STATUS_CONTROLLER = "status/controller"
STATUS_ROLLOUT = "status/rollout"
COMPILED = "compiled/"
COMPILED_SERVICE = "compiled/service/"
COMPILED_GATEWAY = "compiled/gateway/"
COMPILED_MESH = "compiled/mesh"
COMPILED_HEAD = "compiled/head"
BARRIER = "barrier/"
ACK = "ack/"
LOG = "log/"
PKI_TRUST = "pki/trust"
PKI_TOKEN = "pki/token/"
PKI_REVOKED = "pki/revoked/"
ELECT = "elect/"


@dataclass(frozen=True, slots=True, order=True)
class DocumentKey:
    """Which document: namespace, kind in lower case, and name; the same below `policy/`, `lastgood/`, `status/policy/`."""

    namespace: str
    kind: str
    name: str

    def __post_init__(self) -> None:
        check_name(self.namespace, what="namespace")
        check_name(self.kind, what="kind")
        check_name(self.name, what="name")

    @property
    def path(self) -> str:
        """`<ns>/<kind>/<name>`."""
        return f"{self.namespace}/{self.kind}/{self.name}"

    def __str__(self) -> str:
        return self.path


def roster(host: str) -> str:
    """Which hosts belong to the mesh."""
    return ROSTER + check_name(host, what="host")


def host(name: str) -> str:
    """The living host, under its lease."""
    return HOSTS + check_name(name, what="host")


def instance(service: ServiceName, instance_id: str) -> str:
    """One instance's registration."""
    return f"{REGISTRY}{service}/{check_name(instance_id, what='instance')}"


def instances(service: ServiceName) -> str:
    """The prefix of all registrations of a service."""
    return f"{REGISTRY}{service}/"


def parse_instance(key: str) -> tuple[ServiceName, str]:
    """Service and instance id of a key below `registry/`; raises `InvalidName`."""
    parts = key.removeprefix(REGISTRY).split("/")
    if not key.startswith(REGISTRY) or len(parts) != 3:
        raise InvalidName(f"{key!r} is not a registry key: registry/<namespace>/<service>/<instance>")
    return ServiceName(parts[0], parts[1]), check_name(parts[2], what="instance")


def document(prefix: str, key: DocumentKey) -> str:
    """The key of a document below one of POLICY, DRYRUN, LASTGOOD, STATUS_POLICY, STATUS_DRYRUN."""
    return prefix + key.path


def parse_document(prefix: str, key: str) -> DocumentKey:
    """The inverse of `document`; raises `InvalidName` that says what a key looks like."""
    parts = key.removeprefix(prefix).split("/")
    if not key.startswith(prefix) or len(parts) != 3:
        raise InvalidName(f"{key!r} is not a document's key: {prefix}<namespace>/<kind in lower case>/<name>")
    return DocumentKey(*parts)


def compiled_service(service: ServiceName) -> str:
    """The compiled rules of one service."""
    return f"{COMPILED_SERVICE}{service}"


def parse_compiled_service(key: str) -> ServiceName:
    """The inverse of `compiled_service`; raises `InvalidName`."""
    if not key.startswith(COMPILED_SERVICE) or key.removeprefix(COMPILED_SERVICE).count("/") != 1:
        raise InvalidName(f"{key!r} is not a compiled service's key: {COMPILED_SERVICE}<namespace>/<service>")
    return ServiceName.parse(key.removeprefix(COMPILED_SERVICE))


def compiled_gateway(name: str) -> str:
    """The compiled listeners and routes of one gateway."""
    return COMPILED_GATEWAY + check_name(name, what="gateway")


def barrier(name: str) -> str:
    """A request that every host acks what it has now."""
    return BARRIER + check_name(name, what="barrier")


def pending(name: str) -> str:
    """A set of documents that is being written in more than one transaction."""
    return PENDING + check_name(name, what="apply")


def ack(host_name: str) -> str:
    """What a host serves."""
    return ACK + check_name(host_name, what="host")


def log(revision: int, key: DocumentKey) -> str:
    """One change of one document; ordered by revision (20 digits)."""
    return f"{LOG}{revision:020d}/{key.path}"


def token(digest: str) -> str:
    """A join token by its SHA-256 in hex; never the token."""
    return PKI_TOKEN + digest


def revoked(serial: str) -> str:
    """A revoked certificate by its serial in lower-case hex."""
    return PKI_REVOKED + serial


def elect(role: str) -> str:
    """The prefix of the candidates for a role."""
    return f"{ELECT}{check_name(role, what='role')}/"
