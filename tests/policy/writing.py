"""Documents for tests, written as people write them."""

from __future__ import annotations

from policy import compiled
from policy.compile import Compilation, ServiceFacts, compile_documents
from policy.documents import Document, parse
from policy.records import LastGood
from policy.selection import Stored
from registry.keys import DocumentKey
from registry.model import Protocol
from registry.names import ServiceName

HTTP = ServiceFacts(Protocol.HTTP, frozenset({"version"}))
API = ServiceName("shop", "api")
WEB = ServiceName("shop", "web")
SERVICES = {API: HTTP, WEB: HTTP}


def text(kind: str, spec: str, *, name: str = "", namespace: str = "") -> bytes:
    """A document with a spec in flow style; metadata only where a name is given."""
    metadata = f"metadata: {{name: {name}, namespace: {namespace or 'shop'}}}\n" if name else ""
    return f"apiVersion: weft/v1\nkind: {kind}\n{metadata}spec: {spec}\n".encode()


def stored(
    kind: str,
    spec: str,
    *,
    name: str = "one",
    namespace: str = "shop",
    created: int = 1,
    modified: int | None = None,
    good: str | None = None,
    held: bool = False,
) -> Stored:
    """A stored document; `good` is the spec of its last good version."""
    return Stored(
        key=DocumentKey(namespace, kind.lower(), name),
        document=text(kind, spec),
        created=created,
        modified=created if modified is None else modified,
        last_good=None if good is None else LastGood(1, text(kind, good)),
        held=held,
    )


def compile_(*documents: Stored) -> Compilation:
    """Compile for a mesh in which `shop/api` and `shop/web` are registered."""
    return compile_documents(documents, SERVICES)


def parsed(kind: str, spec: str, *, namespace: str = "shop") -> Document:
    """A document that must be valid."""
    found = parse(DocumentKey(namespace, kind.lower(), "one"), text(kind, spec))
    assert isinstance(found, Document), found
    return found


def codes(kind: str, spec: str, *, namespace: str = "shop") -> list[tuple[str, str]]:
    """(name of the code, path) of every error of a document; empty for a valid one."""
    found = parse(DocumentKey(namespace, kind.lower(), "one"), text(kind, spec))
    return [] if isinstance(found, Document) else [(fault.code.name, fault.path) for fault in found]


def api(compilation: Compilation) -> compiled.Service:
    """What was compiled for `shop/api`."""
    return compilation.services[API]
