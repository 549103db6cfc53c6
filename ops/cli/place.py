"""Which mesh a command talks to: `--etcd URL`, else `--state DIR`, `WEFT_STATE`, or the default place of `weft dev`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from ops.cli.codes import Fault
from ops.dev.state import Endpoints, NoMeshError, read_endpoints, state_directory

if TYPE_CHECKING:
    from registry.store import Store

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Place:
    """What the options said."""

    state: Path
    etcd: tuple[str, ...] = ()
    root: str | None = None
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def endpoints(self) -> Endpoints:
        """Of the mesh that `weft dev` or `weft demo` runs in the state directory."""
        try:
            return read_endpoints(self.state)
        except NoMeshError as error:
            raise Fault("no_mesh", str(error)) from error

    @property
    def prefix(self) -> str:
        """The mesh's root in etcd: what absolute keys start with."""
        return self.root or ("/weft/" if self.etcd else self.endpoints["root"])

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The mesh's store, for as long as the scope lasts."""
        from registry.etcd import EtcdConfig, EtcdStore

        urls = self.etcd or (self.endpoints["etcd"],)
        store = await EtcdStore.connect(
            EtcdConfig(endpoints=urls, root=self.prefix, ca_file=self.ca, cert_file=self.certificate, key_file=self.key)
        )
        try:
            yield store
        finally:
            await store.close()


def on_mesh(command: Callable[Concatenate[Place, P], R]) -> Callable[P, R]:
    """Give a command the options that say which mesh, as its first argument."""

    @click.option("--state", type=click.Path(path_type=Path), help="State directory of a mesh that weft dev runs.")
    @click.option("--etcd", multiple=True, metavar="URL", help="Talk to this etcd instead; may be repeated.")
    @click.option("--root", metavar="KEY", help="The mesh's root in that etcd (/weft/).")
    @click.option("--etcd-ca", default="", metavar="FILE", help="CA of that etcd.")
    @click.option("--etcd-cert", default="", metavar="FILE", help="Client certificate for that etcd.")
    @click.option("--etcd-key", default="", metavar="FILE", help="Its key.")
    @wraps(command)
    def with_place(*args: P.args, **kwargs: P.kwargs) -> R:
        state, etcd, root = kwargs.pop("state"), kwargs.pop("etcd"), kwargs.pop("root")
        ca, certificate, key = kwargs.pop("etcd_ca"), kwargs.pop("etcd_cert"), kwargs.pop("etcd_key")
        assert isinstance(etcd, tuple)
        place = Place(
            state_directory(state if isinstance(state, Path) else None),
            etcd,
            root if isinstance(root, str) else None,
            str(ca),
            str(certificate),
            str(key),
        )
        return command(place, *args, **kwargs)

    return with_place


def wait_for(work: Coroutine[object, object, R]) -> R:
    """Run what awaits. What lower layers warn of, such as a key that cannot be read, goes to stderr."""
    told = _Warnings(logging.WARNING)
    logging.getLogger().addHandler(told)
    try:
        return asyncio.run(work)
    finally:
        logging.getLogger().removeHandler(told)


class _Warnings(logging.Handler):
    """A warning as a line for people: the phrase, and its fields."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = [str(record.__dict__[name]) for name in ("key", "error") if name in record.__dict__]
        click.echo(": ".join([f"warning: {record.getMessage()}", *fields]), err=True)
