"""The types that fields of several kinds share, and how a wrong value becomes a diagnostic.

A validator raises `fault(name, message)`: `name` is a code of `policy.diagnostics`, which adds nothing of its own. Fields
that are known and not enforced yet are declared as `NotYet`, so that they are refused by name and never dropped.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from policy import compiled, durations
from policy.documents.regexes import InvalidRegex, check_regex
from policy.documents.source import Unquoted
from policy.documents.targets import InvalidTarget, check_caller, check_service
from registry.names import InvalidName, check_name

T = TypeVar("T")
S = TypeVar("S", bound="Spec")

_TOKEN = re.compile(r"[!#$%&'*+.^`|~0-9A-Za-z-]{1,256}")
_METHOD = re.compile(r"[A-Z][A-Z-]{0,19}")
_HOST_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:\*\.)?{_HOST_LABEL}(?:\.{_HOST_LABEL})*")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e]{0,8192}")
_PATH = re.compile(r"/[!-\"$->@-~]{0,7999}")
_ENGINES_OWN = frozenset(
    [
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ]
)
_ENGINES_OWN_PREFIXES = ("x-forwarded-", "x-weft-")


def fault(name: str, message: str) -> PydanticCustomError:
    """The error a validator raises; braces in the message are kept as they are."""
    return PydanticCustomError(name, "{said}", {"said": message})


class Spec(BaseModel):
    """A map in a document: frozen, no field but the declared ones, and a suggestion for those that are not."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_validator(mode="wrap")
    @classmethod
    def _suggest(cls: type[S], value: object, handler: ModelWrapValidatorHandler[S]) -> S:
        try:
            return handler(value)
        except ValidationError as error:
            lines: list[InitErrorDetails] = []
            for line in error.errors(include_url=False):
                kind: str | PydanticCustomError = line["type"]
                if kind == "extra_forbidden" and len(line["loc"]) == 1:
                    kind = fault("unknown_field", cls._unknown(str(line["loc"][0])))
                elif "said" in line.get("ctx", {}):
                    kind = fault(line["type"], line["ctx"]["said"])
                lines.append(InitErrorDetails(type=kind, loc=line["loc"], input=line["input"], ctx=line.get("ctx", {})))
            raise ValidationError.from_exception_data(cls.__name__, lines) from error

    @classmethod
    def _unknown(cls, name: str) -> str:
        known = [field.alias or own for own, field in cls.model_fields.items()]
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        if nearest:
            return f"there is no field {name!r} here: did you mean {nearest[0]!r}?"
        return f"there is no field {name!r} here: there are {', '.join(sorted(known))}"


def text_of(value: object) -> str:
    """`value` itself if it is a string; anything else is a fault, and mostly lacks quotes."""
    if isinstance(value, str):
        return value
    if isinstance(value, Unquoted) and value.kind == "null" and not value.text:
        raise fault("wrong_type", "nothing is written here: write a value or leave the field out")
    if isinstance(value, Unquoted | bool | int | float):
        raise fault("quote_it", "a string is expected")
    raise fault("wrong_type", f"a string is expected, found a {'map' if isinstance(value, dict) else 'list'}")


def _parsed(name: str, parse: Callable[[str], T], *errors: type[ValueError]) -> BeforeValidator:
    """A text that `parse` takes, its error under the diagnostic `name`."""

    def validate(value: object) -> T:
        text = text_of(value)
        try:
            return parse(text)
        except PydanticCustomError:
            raise
        except errors as error:
            raise fault(name, str(error)) from error

    return BeforeValidator(validate)


def _quantity(name: str, parse: Callable[[str], T], example: str, *errors: type[ValueError]) -> BeforeValidator:
    """A number with its unit: a bare number lacks the unit, not the quotes."""

    def validate(value: object) -> T:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise fault(name, f"{value} has no unit: write it as {example}")
        text = text_of(value)
        try:
            return parse(text)
        except errors as error:
            raise fault(name, str(error)) from error

    return BeforeValidator(validate)


def _positive(text: str) -> int:
    length = durations.milliseconds(text)
    if length == 0:
        raise durations.InvalidDuration("0 is no length of time here: leave the field out for the default")
    return length


def _size(text: str) -> int:
    return durations.size(text)


def words(allowed: type[T] | object, *, later: dict[str, str] | None = None) -> BeforeValidator:
    """One of the words of a `Literal`; those in `later` are refused as not enforced yet, with what holds instead."""
    known: tuple[str, ...] = getattr(allowed, "__args__", ())

    def validate(value: object) -> str:
        if isinstance(value, dict) and later and len(value) == 1 and next(iter(value)) in later:
            value = next(iter(value))
        text = text_of(value)
        if text in known:
            return text
        if later and text in later:
            raise fault("field_not_enforced", f"{text!r} is not enforced by any engine yet: {later[text]}")
        nearest = difflib.get_close_matches(text, known, n=1)
        hint = f": did you mean {nearest[0]!r}?" if nearest else f": write one of {', '.join(known)}"
        raise fault("unknown_word", f"{text!r} is not known here{hint}")

    return BeforeValidator(validate)


def _not_yet(value: object) -> None:
    raise fault("field_not_enforced", "this field is not enforced by any engine yet: remove it")


def header_name(text: str) -> str:
    """A field's name in lower case."""
    if _TOKEN.fullmatch(text) is None:
        why = ": engines drop fields with a '_', since others take it for a '-'" if "_" in text else ""
        raise ValueError(f"{text!r} is no name of a header{why}")
    return text.lower()


def _edited_header(text: str) -> str:
    name = header_name(text)
    if name in _ENGINES_OWN or name.startswith(_ENGINES_OWN_PREFIXES):
        instead = "use rewrite: {host: …}" if name == "host" else "engines set or strip it themselves"
        raise fault("reserved_header", f"{text!r} cannot be edited: {instead}")
    return name


def _header_value(text: str) -> str:
    if _FIELD_VALUE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no value of a header: it must be one line of visible ASCII, at most 8,192 bytes")
    return text.strip(" \t")


def _method(text: str) -> str:
    if _METHOD.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no method: write it in upper case, as in GET, and with 20 letters at most")
    return text


def _host(text: str) -> str:
    host = text.lower()
    if host != "*" and (_HOST.fullmatch(host) is None or len(host) > 253):
        raise ValueError(f"{text!r} is no host: write shop.example.com, *.example.com or *, without a port")
    return host


def _rewritten_host(text: str) -> str:
    host, colon, port = text.lower().partition(":")
    good_port = not colon or (re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65_535)
    if not good_port or host.startswith("*") or _HOST.fullmatch(host) is None or len(host) > 253:
        raise ValueError(f"{text!r} is no host: write example.com or example.com:8080")
    return text.lower()


def _network(text: str) -> str:
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which is another network on every host: leave it out")
    return str(ipaddress.ip_network(text))


def check_path(text: str) -> str:
    """A path as it is after normalisation; raises `ValueError`."""
    if _PATH.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} is no path: start it with / and encode spaces and other characters, without ? and #"
        )
    if "//" in text or any(segment in (".", "..") for segment in text.split("/")):
        raise ValueError(f"{text!r} can never match: paths are compared after // and dot segments are gone")
    return text


def _prefix(text: str) -> str:
    return check_path(text).rstrip("/") or "/"


def _file(text: str) -> str:
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{text!r} is no absolute path of a file")
    return text


NotYet = Annotated[None, BeforeValidator(_not_yet)]
Text = Annotated[str, BeforeValidator(text_of)]
Name = Annotated[str, _parsed("bad_name", check_name, InvalidName)]
Duration = Annotated[int, _quantity("bad_duration", _positive, "250ms or 15s", durations.InvalidDuration)]
DurationOrNone = Annotated[
    int, _quantity("bad_duration", durations.milliseconds, "250ms or 15s", durations.InvalidDuration)
]
Percentage = Annotated[float, _quantity("bad_percentage", durations.percentage, "20%", durations.InvalidPercentage)]
Rate = Annotated[durations.Rate, _quantity("bad_rate", durations.rate, "50/s", durations.InvalidRate)]
Timestamp = Annotated[int, _parsed("bad_moment", durations.epoch_ms, durations.InvalidMoment)]
Size = Annotated[int, _quantity("bad_size", _size, "10MB", durations.InvalidSize)]
Caller = Annotated[str, _parsed("bad_target", check_caller, InvalidTarget)]
ServiceText = Annotated[str, _parsed("bad_target", check_service, InvalidTarget)]
Regex = Annotated[str, _parsed("bad_regex", check_regex, InvalidRegex)]
PathText = Annotated[str, _parsed("bad_path", check_path, ValueError)]
PathPrefix = Annotated[str, _parsed("bad_path", _prefix, ValueError)]
HeaderName = Annotated[str, _parsed("bad_header", header_name, ValueError)]
EditedHeader = Annotated[str, _parsed("bad_header", _edited_header, ValueError)]
HeaderValue = Annotated[str, _parsed("bad_header", _header_value, ValueError)]
Method = Annotated[str, _parsed("bad_method", _method, ValueError)]
Host = Annotated[str, _parsed("bad_host", _host, ValueError)]
RewrittenHost = Annotated[str, _parsed("bad_host", _rewritten_host, ValueError)]
Network = Annotated[str, _parsed("bad_network", _network, ValueError)]
File = Annotated[str, _parsed("bad_path", _file, ValueError)]
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True, ge=0, le=2**31)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Decision = Literal["allow", "deny"]


def exactly_one(spec: BaseModel, *names: str) -> None:
    """Raises unless exactly one of the fields is said."""
    said = [name for name in names if name in spec.model_fields_set]
    if len(said) != 1:
        found = " and ".join(said) if said else "none"
        raise fault("exclusive_fields", f"exactly one of {', '.join(names)} is needed here, found {found}")


def no_repeats(what: str, items: list[str]) -> None:
    """Raises if something stands twice."""
    twice = sorted({item for item in items if items.count(item) > 1})
    if twice:
        raise fault("repeated", f"{what} {', '.join(map(repr, twice))} is said twice")


class PathSpec(Spec):
    """`path: {exact | prefix | regex: …}`."""

    exact: PathText | None = None
    prefix: PathPrefix | None = None
    regex: Regex | None = None

    @model_validator(mode="after")
    def _one(self) -> PathSpec:
        exactly_one(self, "exact", "prefix", "regex")
        return self

    def compiled(self) -> compiled.PathMatch:
        """As the engine compares it."""
        if self.exact is not None:
            return compiled.Exact(self.exact)
        if self.prefix is not None:
            return compiled.Prefix(self.prefix)
        assert self.regex is not None  # exactly one is said
        return compiled.Regex(self.regex)


class ValueSpec(Spec):
    """A header's value: an exact string, `{regex: …}` or `{present: true}`."""

    exact: Text | None = None
    regex: Regex | None = None
    present: Flag | None = None

    @model_validator(mode="before")
    @classmethod
    def _string(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"exact": text_of(value)}

    @model_validator(mode="after")
    def _one(self) -> ValueSpec:
        exactly_one(self, "exact", "regex", "present")
        return self

    def compiled(self) -> compiled.ValueMatch:
        """As the engine compares it."""
        if self.exact is not None:
            return compiled.Exact(self.exact)
        if self.regex is not None:
            return compiled.Regex(self.regex)
        return compiled.Present(bool(self.present))


class HeaderEditsSpec(Spec):
    """`{set: {…}, add: {…}, remove: […]}`."""

    set: dict[EditedHeader, HeaderValue] = Field(default={}, max_length=100)
    add: dict[EditedHeader, HeaderValue] = Field(default={}, max_length=100)
    remove: list[EditedHeader] = Field(default=[], max_length=100)

    def compiled(self) -> compiled.HeaderEdits:
        """As the engine makes them."""
        return compiled.HeaderEdits(set=dict(self.set), add=dict(self.add), remove=tuple(self.remove))
