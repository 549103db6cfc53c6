"""The agent's configuration file: TOML, read once at start, every unknown key refused by name.

Lengths of time are texts with a unit (`15s`). A whole table may be left out: without `[etcd]` the host is in a mesh
without etcd, without `[gateway]` it is an ordinary host.

How it fails: `InvalidConfig`, with every problem at once, each with its key and what was expected.
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from policy.durations import parse_duration
from registry.names import DEFAULT_NAMESPACE, ServiceName, check_name


class InvalidConfig(ValueError):
    """A configuration that cannot be used; the message names the file and every key at fault."""

    code = "invalid_config"


def _name(text: str) -> str:
    return check_name(text)


def _endpoint(text: str) -> str:
    split_address(text)
    return text


def _loopback(text: str) -> str:
    host, _ = split_address(text)
    if not ip_address(host).is_loopback:
        raise ValueError("an address on loopback: what is asked there is plain, and for programs of this host only")
    return text


def _service(text: str) -> str:
    return str(ServiceName.parse(text, namespace=DEFAULT_NAMESPACE))


def _length(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_name)]
Address = Annotated[str, AfterValidator(_endpoint)]
Length = Annotated[timedelta, BeforeValidator(_length)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Api(_Table):
    """Where programs of this host register; `socket` beside it if named."""

    listen: Address = "127.0.0.1:7500"
    socket: Path | None = None


class Engine(_Table):
    """Where this host's engine takes its configuration."""

    socket: Path


class Inbound(_Table):
    """The port for mesh traffic, on the advertised address."""

    port: Annotated[int, Field(ge=1, le=65535)] = 7502


class Outbound(_Table):
    """The port on which a request's host names the service. Who calls there is not proved: all of them are `as`."""

    listen: Annotated[Address, AfterValidator(_loopback)] = "127.0.0.1:7501"
    caller: Annotated[str, AfterValidator(_service), Field(alias="as")]


class Etcd(_Table):
    """Where the mesh is kept, and who we are there."""

    endpoints: Annotated[tuple[str, ...], Field(min_length=1)]
    root: str = "/weft/"
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password_file: str = ""
    lease_ttl: Length = timedelta(seconds=15)


class Controllers(_Table):
    """Who signs certificates; the token is needed only until this host has joined."""

    urls: tuple[str, ...] = ()
    token_file: Path | None = None


class Mdns(_Table):
    """Being found, and finding, where etcd is not."""

    enabled: bool = False
    interfaces: tuple[str, ...] = ()


class Directory(_Table):
    """A directory that is read again when it changes."""

    dir: Path


class Gateway(_Table):
    """The gateway that this host is."""

    name: Name


class Config(_Table):
    """All of it."""

    host: Name
    state_dir: Path
    engine: Engine
    advertise: str = ""
    zone: str = ""
    labels: dict[str, str] = {}
    trust_domain: str = ""
    datacenter: str = ""
    api: Api = Api()
    inbound: Inbound = Inbound()
    outbound: Outbound | None = None
    etcd: Etcd | None = None
    controllers: Controllers = Controllers()
    mdns: Mdns = Mdns()
    policies: Directory | None = None
    services: Directory | None = None
    gateway: Gateway | None = None


def load(path: Path) -> Config:
    """The configuration in a file; raises `InvalidConfig`."""
    try:
        return parse(path.read_text(), source=str(path))
    except OSError as error:
        raise InvalidConfig(f"{path}: cannot be read: {error.strerror}") from error


def parse(text: str, *, source: str) -> Config:
    """The configuration in a text; `source` is named in what is raised, `InvalidConfig`."""
    try:
        config = Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"{source}: not TOML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(_problem(dict(detail)) for detail in error.errors())
        raise InvalidConfig(f"{source}: {problems}") from error
    if config.etcd is None and not (config.trust_domain and config.datacenter):
        raise InvalidConfig(f"{source}: without [etcd], trust_domain and datacenter are required: add both")
    return config


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:7500` or `[::1]:7500`; raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("an address and a port, such as 127.0.0.1:7500")
    return host.removeprefix("[").removesuffix("]"), int(port)


def join_address(host: str, port: int) -> str:
    """The inverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _problem(detail: dict[str, object]) -> str:
    where = detail["loc"]
    key = ".".join(map(str, where)) if isinstance(where, tuple) else ""
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key: remove it or correct its spelling"
    if detail["type"] == "missing":
        return f"{key}: missing: add it"
    return f"{key}: {str(detail['msg']).removeprefix('Value error, ')}, found {detail['input']!r}"
