"""The controller's configuration file: TOML, read once at start, every unknown key refused by name.

How it fails: `InvalidConfig`, with every problem at once, each with its key and what was expected.
"""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from proxy.config import Address, Etcd, InvalidConfig, Length, Name
from registry.pki.authority import HOST_LIFE, SERVICE_LIFE


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hosts(_Table):
    """The port for hosts."""

    listen: Address = "127.0.0.1:7520"


class Api(_Table):
    """The operator API."""

    listen: Address = "127.0.0.1:7510"


class Ca(_Table):
    """This controller's intermediate, and how long what it signs lives."""

    dir: Path
    leaf_ttl: Length = SERVICE_LIFE
    host_ttl: Length = HOST_LIFE


class Mesh(_Table):
    """The names of a mesh that does not exist yet; not looked at once it does."""

    trust_domain: str
    datacenter: Name


class ControllerConfig(_Table):
    """All of it."""

    host: Name
    state_dir: Path
    etcd: Etcd
    ca: Ca
    advertise: str = "127.0.0.1"
    hosts: Hosts = Hosts()
    api: Api = Api()
    mesh: Mesh | None = None
    leader_ttl: Length = timedelta(seconds=10)


def load(path: Path) -> ControllerConfig:
    """The configuration in a file; raises `InvalidConfig`."""
    try:
        return ControllerConfig.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise InvalidConfig(f"{path}: cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise InvalidConfig(f"{path}: {'; '.join(problems)}") from error
