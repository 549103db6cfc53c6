"""The OpenAPI description of `registry.api`, with the schema of what people write taken from the schema itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from registry.registration import RegistrationBody

_REF = "#/components/schemas/"


@cache
def openapi() -> Mapping[str, object]:
    """OpenAPI 3.1 of the registration API."""
    body = RegistrationBody.model_json_schema(ref_template=_REF + "{model}")
    schemas = {**body.pop("$defs", {}), "Registration": body, "Registered": _REGISTERED, "Problem": _PROBLEM}
    instance = "/v1/services/{service}/instances/{instance}"
    of_instance = [_path("service"), _path("instance"), _query("namespace", "string", "default: `default`")]
    watch = [
        _query("namespace", "string", "default: `default`; all where services are listed"),
        _query("watch", "boolean", "stream JSON lines, the whole state in each"),
        _query("from", "integer", "only what is newer than this revision"),
    ]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Weft registration API", "version": "1"},
        "paths": {
            instance: {
                "parameters": of_instance,
                "put": _operation("Register an instance, or change it", "Registered", body="Registration", made=True),
                "get": _operation("One instance of this host", "Registered"),
                "delete": _operation("End it; a tombstone tells everybody", "Registered"),
            },
            f"{instance}/drain": {
                "parameters": of_instance,
                "put": _operation("Finish what is open, take no more", "Registered"),
            },
            f"{instance}/ttl": {
                "parameters": of_instance,
                "put": _operation("It works: the heartbeat of a ttl check", "Registered"),
            },
            "/v1/services": {"parameters": watch, "get": _operation("Every service known here")},
            "/v1/services/{service}": {
                "parameters": [_path("service"), *watch],
                "get": _operation("One service with its instances: state, presence, source"),
            },
            "/v1/status": {"get": _operation("This host: what it serves, and as of when")},
            "/healthz": {"get": _operation("Whether the agent answers")},
            "/metrics": {"get": _operation("Metrics in the text format of Prometheus")},
        },
        "components": {"schemas": schemas},
    }


def _operation(summary: str, answer: str = "", *, body: str = "", made: bool = False) -> dict[str, object]:
    content = {"application/json": {"schema": {"$ref": _REF + answer} if answer else {}}}
    problem = {"application/problem+json": {"schema": {"$ref": _REF + "Problem"}}}
    responses: dict[str, object] = {
        "200": {"description": "done; nothing new" if made else "the answer", "content": content},
        "default": {"description": "refused; nothing changed", "content": problem},
    }
    if made:
        responses["201"] = {"description": "made", "content": content}
    operation: dict[str, object] = {"summary": summary, "responses": responses}
    if body:
        schema = {"application/json": {"schema": {"$ref": _REF + body}}}
        operation["requestBody"] = {"required": True, "content": schema}
    return operation


def _path(name: str) -> dict[str, object]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(name: str, kind: str, description: str) -> dict[str, object]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": kind}}


def _object(**properties: object) -> dict[str, object]:
    return {"type": "object", "required": sorted(properties), "properties": properties}


_TEXT = {"type": "string"}
_REGISTERED = _object(
    key=_TEXT,
    revision={"type": "integer"},
    stored={"enum": ["etcd", "disk"]},
    state={"enum": ["starting", "up", "down", "drain"]},
    why=_TEXT,
    identity=_TEXT,
    upstreams={"type": "object", "additionalProperties": _object(url=_TEXT, known={"type": "boolean"})},
    changed={"type": "boolean"},
)
_PROBLEM = _object(
    type=_TEXT, title=_TEXT, status={"type": "integer"}, code=_TEXT, path=_TEXT, found=_TEXT, expected=_TEXT, fix=_TEXT
)
