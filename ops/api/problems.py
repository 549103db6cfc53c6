"""Refusals over HTTP, as problem+json (RFC 9457): what, why and what to do, with a permanent code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from policy.apply import ConflictError, InvalidDocuments
from registry.names import InvalidName
from registry.pki.errors import IdentityRefusedError
from registry.store import StoreError, StoreUnavailableError

MEDIA_TYPE = "application/problem+json"

Body = TypeVar("Body", bound=BaseModel)


class ProblemError(Exception):
    """An answer that is a refusal; raised anywhere below a route, and told to the caller as it is."""

    def __init__(
        self, *, status: int, code: str, title: str, detail: str, fix: str = "", errors: Sequence[object] = ()
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.fix = fix
        self.errors = errors

    def response(self) -> Response:
        """As it travels; `errors` is there only where there are several."""
        content: dict[str, object] = {
            "type": f"urn:weft:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "fix": self.fix,
        }
        if self.errors:
            content["errors"] = list(self.errors)
        return JSONResponse(content, status_code=self.status, media_type=MEDIA_TYPE)


def to_problem(error: Exception) -> ProblemError:
    """The problem that an error of a lower layer is for an HTTP caller; raises it again where it is none."""
    match error:
        case ProblemError():
            return error
        case IdentityRefusedError():
            meaning = error.meaning
            return ProblemError(
                status=meaning.status, code=error.code, title=meaning.title, detail=error.detail, fix=meaning.fix
            )
        case InvalidDocuments():
            return ProblemError(
                status=422,
                code=error.code,
                title="Documents refused",
                detail=str(error.diagnostics[0]),
                fix="nothing was written; correct what errors lists",
                errors=[{"file": one.file, **asdict(one.problem())} for one in error.diagnostics],
            )
        case ConflictError():
            return ProblemError(status=409, code=error.code, title="Changed meanwhile", detail=str(error))
        case InvalidName():
            return ProblemError(status=400, code=error.code, title="Not a name", detail=str(error))
        case StoreUnavailableError():
            return ProblemError(
                status=503,
                code=error.code,
                title="etcd does not answer",
                detail=str(error),
                fix="try again; `weft status` says which member is away",
            )
        case StoreError():
            return ProblemError(status=503, code=error.code, title="etcd refused", detail=str(error))
        case HTTPException():
            code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
            return ProblemError(
                status=error.status_code,
                code=code,
                title=error.detail,
                detail=error.detail,
                fix="every path and its methods are in /v1/openapi.json",
            )
    raise error


async def answer(_: Request, error: Exception) -> Response:
    """Starlette's exception handler for everything `to_problem` knows."""
    return to_problem(error).response()


HANDLED: tuple[type[Exception], ...] = (
    ProblemError,
    IdentityRefusedError,
    InvalidDocuments,
    ConflictError,
    InvalidName,
    StoreError,
    HTTPException,
)


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body, if it is not larger than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise ProblemError(
                status=413, code="too_large", title="Too large", detail=f"at most {limit} bytes are read here"
            )
        parts.append(part)
    return b"".join(parts)


async def read_model(request: Request, model: type[Body], *, limit: int = 65_536) -> Body:
    """The JSON body as a model; every error at once, each with its path."""
    try:
        return model.model_validate_json(await read_body(request, limit=limit))
    except ValidationError as error:
        found = [
            {"path": ".".join(map(str, entry["loc"])), "code": entry["type"], "message": entry["msg"]}
            for entry in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ProblemError(
            status=400,
            code="invalid_request",
            title="Bad request",
            detail=f"the body is not what is expected here: {found[0]['path'] or 'body'}: {found[0]['message']}",
            fix="the schema is in /v1/openapi.json",
            errors=found,
        ) from error
