"""What a program writes to join: THE schema of a registration, over HTTP or in a file of `services.d`.

`parse_registration` takes what was read from JSON or YAML and gives a `Registration`, or raises `InvalidRegistration`
with every problem at once: its code, where it is, what was found, what was expected and how to mend it. Nothing of a
registration with a problem is used.

An absent `check` means a TCP connect every second, never "always up". `deregister_after` is how long an instance may be
without a passing check before its host forgets it: a day where an API call made it, never where a file did.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from registry.model import Protocol
from registry.names import DEFAULT_NAMESPACE, InvalidName, ServiceName, check_name

SHORTEST = 0.01
"""No check is to keep a host busy, and no length of time is to be lost when it is kept in milliseconds."""
DEREGISTER_AFTER = 86_400.0

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a permanent code, the place, what stands there, what should, and what to do."""

    code: str
    path: str
    found: str
    expected: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path or 'the body'}: expected {self.expected}, found {self.found}: {self.fix}"


class InvalidRegistration(ValueError):
    """A registration that cannot be used, with every problem in it."""

    code = "invalid_registration"

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Check:
    """How the host finds out whether an instance works; lengths are in seconds.

    `http`: a GET of `path` must answer 200 to 399. `tcp`: a connect must succeed. `ttl`: the program itself says so at
    least every `interval`.
    """

    kind: Literal["http", "tcp", "ttl"] = "tcp"
    path: str = ""
    interval: float = 1.0
    timeout: float = 0.5
    rise: int = 2
    fall: int = 3


@dataclass(frozen=True, slots=True)
class Upstream:
    """A service this one calls; `port` is where it wants to find it on loopback, or None for one that the host picks."""

    service: ServiceName
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """One instance, as its program or its file describes it."""

    service: ServiceName
    id: str
    port: int
    protocol: Protocol = Protocol.HTTP
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    weight: int = 100
    check: Check = Check()
    upstreams: tuple[Upstream, ...] = ()
    deregister_after: float | None = DEREGISTER_AFTER


def seconds(text: str) -> float:
    """The seconds in `250ms`, `15s`, `24h`; raises `ValueError` that says what to write."""
    found = _DURATION.fullmatch(text)
    length = float(found[1]) * _SECONDS[found[2]] if found is not None else 0.0
    if length < SHORTEST:
        raise ValueError("a duration of at least 10ms, such as 500ms, 15s or 24h")
    return length


def _duration(text: str) -> str:
    seconds(text)
    return text


Duration = Annotated[str, AfterValidator(_duration), Field(examples=["500ms", "15s", "24h"])]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
Text = Annotated[str, Field(strict=True)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CheckBody(_Body):
    """`http`, `tcp` or `ttl`: exactly one."""

    http: Annotated[str, Field(pattern=r"^/[!-~]*$", examples=["/healthz"])] | None = None
    tcp: Literal[True] | None = None
    ttl: Duration | None = None
    interval: Duration = "1s"
    timeout: Duration = "500ms"
    rise: Annotated[int, Field(ge=1, le=100, strict=True)] = 2
    fall: Annotated[int, Field(ge=1, le=100, strict=True)] = 3

    @model_validator(mode="after")
    def _one(self) -> CheckBody:
        if sum(kind is not None for kind in (self.http, self.tcp, self.ttl)) != 1:
            raise ValueError("exactly one of http, tcp and ttl")
        return self


class UpstreamBody(_Body):
    """A service that this one calls: `db` in its own namespace, or `shop/db`."""

    service: Text
    port: Port | None = None


class RegistrationBody(_Body):
    """What is put at `/v1/services/<service>/instances/<id>`."""

    namespace: Text | None = None
    port: Port
    protocol: Literal["http", "http2", "grpc", "tcp"] = "http"
    version: Text = ""
    labels: dict[Text, Text] = {}
    weight: Annotated[int, Field(ge=0, le=1000, strict=True)] = 100
    check: CheckBody | None = None
    upstreams: list[UpstreamBody] = []
    deregister_after: Duration | None = None


def parse_registration(
    body: object, *, service: str, instance: str, namespace: str | None = None, from_file: bool = False
) -> Registration:
    """The registration in `body`; `namespace` is what the request said beside it. Raises `InvalidRegistration`."""
    try:
        parsed = RegistrationBody.model_validate(body)
    except ValidationError as error:
        raise InvalidRegistration(*(_problem(dict(detail)) for detail in error.errors())) from error
    if namespace is not None and parsed.namespace not in (None, namespace):
        raise InvalidRegistration(
            Problem(
                "namespace_conflict",
                "namespace",
                repr(parsed.namespace),
                f"{namespace!r}, as ?namespace= says",
                "say it once, or the same twice",
            )
        )
    name = _service(namespace or parsed.namespace or DEFAULT_NAMESPACE, service, "service")
    upstreams = tuple(_upstream(upstream, index, name) for index, upstream in enumerate(parsed.upstreams))
    twice = [str(upstream.service) for upstream in upstreams]
    for index, text in enumerate(twice):
        if text in twice[:index]:
            raise InvalidRegistration(
                Problem("duplicate", f"upstreams[{index}]", repr(text), "every upstream once", "remove one of them")
            )
    return Registration(
        service=name,
        id=_name(instance, "instance"),
        port=parsed.port,
        protocol=Protocol(parsed.protocol),
        version=parsed.version or parsed.labels.get("version", ""),
        labels=dict(sorted(parsed.labels.items())),
        weight=parsed.weight,
        check=_check(parsed.check),
        upstreams=upstreams,
        deregister_after=seconds(parsed.deregister_after)
        if parsed.deregister_after
        else (None if from_file else DEREGISTER_AFTER),
    )


def to_plain(registration: Registration) -> dict[str, object]:
    """The body that `parse_registration` turns into this registration again, to keep on disk."""
    check = registration.check
    kinds: dict[str, dict[str, object]] = {
        "http": {"http": check.path},
        "tcp": {"tcp": True},
        "ttl": {"ttl": _text(check.interval)},
    }
    body: dict[str, object] = {
        "namespace": registration.service.namespace,
        "port": registration.port,
        "protocol": registration.protocol.value,
        "version": registration.version,
        "labels": dict(registration.labels),
        "weight": registration.weight,
        "check": {
            **kinds[check.kind],
            "interval": _text(check.interval),
            "timeout": _text(check.timeout),
            "rise": check.rise,
            "fall": check.fall,
        },
        "upstreams": [
            {"service": str(upstream.service)} | ({"port": upstream.port} if upstream.port else {})
            for upstream in registration.upstreams
        ],
    }
    if registration.deregister_after is not None:
        body["deregister_after"] = _text(registration.deregister_after)
    return body


def _text(length: float) -> str:
    return f"{round(length * 1000)}ms"


def _check(body: CheckBody | None) -> Check:
    if body is None:
        return Check()
    return Check(
        kind="http" if body.http is not None else "ttl" if body.ttl is not None else "tcp",
        path=body.http or "",
        interval=seconds(body.ttl or body.interval),
        timeout=seconds(body.timeout),
        rise=body.rise,
        fall=body.fall,
    )


def _upstream(body: UpstreamBody, index: int, caller: ServiceName) -> Upstream:
    try:
        return Upstream(ServiceName.parse(body.service, namespace=caller.namespace), body.port)
    except InvalidName as error:
        raise InvalidRegistration(_bad_name(f"upstreams[{index}].service", body.service, error)) from error


def _service(namespace: str, name: str, path: str) -> ServiceName:
    return ServiceName(_name(namespace, "namespace"), _name(name, path))


def _name(text: str, path: str) -> str:
    try:
        return check_name(text, what=path)
    except InvalidName as error:
        raise InvalidRegistration(_bad_name(path, text, error)) from error


def _bad_name(path: str, text: str, error: InvalidName) -> Problem:
    return Problem(
        "invalid_name",
        path,
        repr(text),
        "1 to 63 lower-case letters, digits and hyphens, a letter or digit at both ends",
        f"rename it: {error}",
    )


_FIELDS = tuple(
    sorted({*RegistrationBody.model_fields, *CheckBody.model_fields, *UpstreamBody.model_fields, "id", "service"})
)

_IN_OUR_WORDS = {
    "model_type": "a JSON object",
    "model_attributes_type": "a JSON object",
    "string_pattern_mismatch": "a path such as /healthz: a slash, then visible ASCII characters",
}


def _problem(error: Mapping[str, object]) -> Problem:
    """What pydantic found, in our words."""
    kind = str(error["type"])
    where = error["loc"] if isinstance(error["loc"], tuple) else ()
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    found = repr(error["input"])[:80]
    if kind == "extra_forbidden":
        field_name = str(where[-1])
        near = difflib.get_close_matches(field_name, _FIELDS, n=1)
        fix = f"did you mean {near[0]!r}?" if near else "remove it"
        return Problem("unknown_field", path, repr(field_name), "a field of a registration", fix)
    if kind == "missing":
        return Problem("missing_field", path, "nothing", "this field", f"add {where[-1]!r}")
    expected = _IN_OUR_WORDS.get(kind) or str(error["msg"]).removeprefix("Value error, ").removeprefix(
        "Input should be "
    )
    fix = "quote it" if kind == "string_type" else f"write {expected}"
    return Problem("invalid_value", path, found, expected, fix)
