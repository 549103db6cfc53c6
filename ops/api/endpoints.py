"""An HTTP API as a table: each row becomes a route and a path of the OpenAPI document, so that neither can lack the other."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_REF = "#/components/schemas/"
_PROBLEM: dict[str, object] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "fix"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "fix": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation: where, how, what it is for, what it takes, and what runs."""

    method: str
    path: str
    summary: str
    run: Callable[[Request], Awaitable[Response]]
    body: type[BaseModel] | str | None = None
    """A model for JSON, a media type for bytes as they are."""
    query: Sequence[str] = field(default=())
    success: int = 200


def routes(endpoints: Sequence[Endpoint]) -> list[Route]:
    """Starlette's routes of a table; the operations of one path stand together, so that 405 names them all."""
    return [Route(one.path, one.run, methods=[one.method]) for one in endpoints]


def openapi(title: str, endpoints: Sequence[Endpoint]) -> dict[str, object]:
    """The OpenAPI 3.1 document of a table."""
    paths: dict[str, dict[str, object]] = {}
    schemas: dict[str, object] = {"Problem": _PROBLEM}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(one: Endpoint, schemas: dict[str, object]) -> dict[str, object]:
    names = re.findall(r"{(\w+)}", one.path)
    string = {"type": "string"}
    operation: dict[str, object] = {
        "summary": one.summary,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": string} for name in names),
            *({"name": name, "in": "query", "schema": string} for name in one.query),
        ],
        "responses": {
            str(one.success): {"description": "done"},
            "default": {
                "description": "refused, with a code and what to do",
                "content": {"application/problem+json": {"schema": {"$ref": _REF + "Problem"}}},
            },
        },
    }
    if isinstance(one.body, str):
        operation["requestBody"] = {"required": True, "content": {one.body: {"schema": {"type": "string"}}}}
    elif one.body is not None:
        schema = one.body.model_json_schema(ref_template=_REF + "{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[one.body.__name__] = schema
        reference = {"schema": {"$ref": _REF + one.body.__name__}}
        operation["requestBody"] = {"required": True, "content": {"application/json": reference}}
    return operation
