"""Policy documents over HTTP: read, write, take back, write a set, wait until it is live.

Bodies are the operator's own bytes, stored as they came. Thin over `policy.apply` and `policy.waiting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ops.api import shapes
from ops.api.endpoints import Endpoint
from ops.api.problems import ProblemError, read_body, read_model
from policy import apply as documents
from policy.apply import Applied, ConflictError, File, InvalidDocuments, Result
from policy.documents import Document, parse
from policy.durations import parse_duration
from policy.waiting import wait
from registry import keys
from registry.keys import DocumentKey
from registry.names import check_name
from registry.store import Compare, Put, Revision, Store

YAML = "application/yaml"
MAX_SET = 32 * 1024 * 1024
MAX_DOCUMENT = 256_000
ATTEMPTS = 5


def _length(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Length = Annotated[timedelta, BeforeValidator(_length)]


class Body(BaseModel):
    """A JSON body; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class WaitRequest(Body):
    """Which revision, how long (`60s`), and whether hosts without a lease are left out."""

    revision: int = Field(ge=1)
    timeout: Length = timedelta(seconds=60)
    live: bool = False


class NamedFile(Body):
    """A file as `weft apply -f` read it; may hold several documents."""

    name: str
    content: str


class ApplyRequest(Body):
    """A set of files, written as a whole; `namespace` for documents that name none."""

    files: list[NamedFile] = Field(min_length=1)
    namespace: str | None = None


class Documents:
    """The routes about documents."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def endpoints(self) -> Sequence[Endpoint]:
        """Their rows of the table."""
        one = "/v1/policy/{namespace}/{kind}/{name}"
        return [
            Endpoint(
                "GET", "/v1/policy", "Documents with their status", self.list, query=("kind", "namespace", "name")
            ),
            Endpoint("GET", one, "One document, the operator's own bytes", self.get),
            Endpoint("PUT", one, "Write one document", self.put, body=YAML),
            Endpoint("DELETE", one, "Take one document back", self.delete),
            Endpoint("POST", "/v1/apply", "Write a set of documents as a whole", self.apply, body=ApplyRequest),
            Endpoint("POST", "/v1/wait", "Wait until every host serves a revision", self.wait, body=WaitRequest),
        ]

    async def list(self, request: Request) -> Response:
        """Those that match, each with what the controller says of it."""
        kind, namespace, name = (request.query_params.get(word) for word in ("kind", "namespace", "name"))
        found = await documents.get(self._store, kind=kind, namespace=namespace, name=name)
        return JSONResponse({"documents": [shapes.document(one) for one in found]})

    async def get(self, request: Request) -> Response:
        """The stored bytes; the revision in `ETag`."""
        key = _key(request)
        item = await self._store.get(keys.document(keys.POLICY, key))
        if item is None:
            raise _absent(key)
        return Response(item.value, media_type=YAML, headers={"etag": f'"{item.mod_revision}"'})

    async def put(self, request: Request) -> Response:
        """One document; its metadata may be left out, the path says it, and must agree where it is there."""
        key = _key(request)
        content = await read_body(request, limit=MAX_DOCUMENT)
        told = parse(key, content)
        if not isinstance(told, Document):
            raise InvalidDocuments(told)
        return JSONResponse(shapes.applied(await self._write(key, content)))

    async def delete(self, request: Request) -> Response:
        """Gone from now on; one that is not there is 404."""
        key = _key(request)
        applied = await documents.delete(self._store, [key])
        if dict(applied.results)[key] == "absent":
            raise _absent(key)
        return JSONResponse(shapes.applied(applied))

    async def apply(self, request: Request) -> Response:
        """All of the set or nothing."""
        body = await read_model(request, ApplyRequest, limit=MAX_SET)
        files = [File(one.name, one.content.encode()) for one in body.files]
        namespace = check_name(body.namespace, what="namespace") if body.namespace is not None else None
        return JSONResponse(shapes.applied(await documents.apply(self._store, files, namespace=namespace)))

    async def wait(self, request: Request) -> Response:
        """200 in every case; `outcome` says done, refused or waiting (time was up)."""
        body = await read_model(request, WaitRequest)
        found = await wait(self._store, body.revision, timeout=body.timeout, live=body.live)
        return JSONResponse(shapes.rollout(found))

    async def _write(self, key: DocumentKey, content: bytes) -> Applied:
        name = keys.document(keys.POLICY, key)
        for _ in range(ATTEMPTS):
            present = await self._store.get(name)
            if present is not None and present.value == content:
                return Applied(present.mod_revision, ((key, "unchanged"),))
            result: Result = "created" if present is None else "changed"
            seen = present.mod_revision if present is not None else Revision(0)
            done = await self._store.transact([Compare(name, mod_revision=seen)], [Put(name, content)])
            if done.applied:
                return Applied(done.revision, ((key, result),))
        raise ConflictError(f"{key} kept being changed by somebody else: look at it and write it again")


def _key(request: Request) -> DocumentKey:
    params = request.path_params
    return DocumentKey(params["namespace"], params["kind"], params["name"])


def _absent(key: DocumentKey) -> ProblemError:
    return ProblemError(
        status=404,
        code="not_found",
        title="No such document",
        detail=f"there is no {key.kind} {key.namespace}/{key.name}",
        fix="GET /v1/policy lists what there is",
    )
