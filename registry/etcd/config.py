"""Where etcd is, and who we are to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from registry.keys import DEFAULT_ROOT


class InvalidEtcdConfig(ValueError):
    """A configuration that no client can be made of. The message says which setting and what to write."""

    code = "invalid_etcd_config"


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """Endpoints as `http://host:port` or `https://host:port`; files in PEM. Empty means not used.

    The password is read from its file at every login, so that it can be changed without a restart.
    """

    endpoints: Sequence[str]
    root: str = DEFAULT_ROOT
    ca_file: Path | str | None = None
    cert_file: Path | str | None = None
    key_file: Path | str | None = None
    username: str = ""
    password_file: Path | str | None = None

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise InvalidEtcdConfig("etcd.endpoints is empty: write at least one, such as http://127.0.0.1:2379")
        for endpoint in self.endpoints:
            scheme, separator, address = endpoint.partition("://")
            if not separator or scheme not in ("http", "https") or not address.strip("/"):
                raise InvalidEtcdConfig(f"etcd endpoint {endpoint!r}: write http://host:port or https://host:port")
        if not self.root.endswith("/"):
            raise InvalidEtcdConfig(f"etcd root {self.root!r} must end with '/'")
        if bool(self.cert_file) != bool(self.key_file):
            raise InvalidEtcdConfig("etcd.cert_file and etcd.key_file belong together: give both or neither")
        if self.username and not self.password_file:
            raise InvalidEtcdConfig("etcd.username needs etcd.password_file")
