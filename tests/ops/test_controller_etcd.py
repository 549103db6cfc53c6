"""A controller as a process of its own, with a real etcd: what it does when either of them dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from proxy.identity import Identities, Identity
from proxy.ports import PortClaims
from registry.names import SpiffeId
from registry.pki import tokens
from registry.pki.authority import create
from registry.pki.certificates import now_utc
from tests.support.etcd import EtcdProcess, etcd_cluster
from tests.support.identity import TRUST_DOMAIN, service, write_token

pytestmark = pytest.mark.anyio

API = service("api")
RUN = (
    "import asyncio, pathlib, sys; from ops.controller import run; from ops.controller_config import load; "
    "asyncio.run(run(load(pathlib.Path(sys.argv[1]))))"
)


class Process:
    """One controller; its ports and state stay its own through kill and restart."""

    def __init__(self, directory: Path, etcd: EtcdProcess, ports: PortClaims) -> None:
        self.api, self.hosts = (f"127.0.0.1:{ports.claim()}" for _ in range(2))
        self._config = directory / "controller.toml"
        self.log = directory / "controller.log"
        self._config.write_text(
            f'host = "ctl-1"\nstate_dir = "{directory / "state"}"\nleader_ttl = "2s"\n'
            f'[etcd]\nendpoints = ["{etcd.url}"]\n[hosts]\nlisten = "{self.hosts}"\n[api]\nlisten = "{self.api}"\n'
            f'[ca]\ndir = "{directory / "ca"}"\n[mesh]\ntrust_domain = "{TRUST_DOMAIN}"\ndatacenter = "local"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-c", RUN, str(self._config)], stdout=log, stderr=log)

    def end(self, number: signal.Signals) -> int:
        """The exit status after this signal."""
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(timeout=10)
        self._process = None
        return status

    def wait(self) -> int:
        """The exit status once it ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout=15)

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-4000:]

    def close(self) -> None:
        if self._process is not None:
            self.end(signal.SIGKILL)


@pytest.fixture
def etcd_and_controller(tmp_path: Path) -> Iterator[tuple[EtcdProcess, Process]]:
    create(tmp_path / "ca", trust_domain=TRUST_DOMAIN, now=now_utc())
    with etcd_cluster(tmp_path / "etcd") as [etcd], PortClaims() as ports:
        controller = Process(tmp_path, etcd, ports)
        controller.start()
        try:
            yield etcd, controller
        finally:
            controller.close()


@contextlib.asynccontextmanager
async def operator(controller: Process) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://{controller.api}", trust_env=False) as client:
        yield client


async def until_leading(client: httpx2.AsyncClient, controller: Process) -> None:
    """Until this controller leads and etcd answers it."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(httpx2.HTTPError):
            if "weft_controller_leading 1.0" in (await client.get("/metrics")).text:
                return
        await asyncio.sleep(0.05)
    raise AssertionError(controller.said())


async def identities_of(directory: Path, controller: Process, token_file: Path, *wanted: SpiffeId) -> set[SpiffeId]:
    """Which of `wanted` a host gets; all of them, or time is up."""
    url = f"https://{controller.hosts}"
    identities = Identities(state_dir=directory, host="vm-1", controllers=[url], token_file=token_file)
    identities.want(frozenset(wanted))
    found: set[SpiffeId] = set()
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        task = group.create_task(identities.run())
        async for change in identities.changes():
            if isinstance(change, Identity):
                found.add(change.id)
            if found == set(wanted):
                break
        task.cancel()
    return found


async def make_token(client: httpx2.AsyncClient, directory: Path) -> Path:
    answer = await client.post("/v1/tokens", json={"services": ["*"], "host": "vm-1"})
    assert answer.status_code == 201, answer.text
    return write_token(directory, tokens.Token.parse(answer.json()["token"]))


async def test_a_host_joins_and_is_signed_for_after_etcd_and_then_the_controller_died(
    tmp_path: Path, etcd_and_controller: tuple[EtcdProcess, Process]
) -> None:
    etcd, controller = etcd_and_controller
    async with operator(controller) as client:
        await until_leading(client, controller)
        token_file = await make_token(client, tmp_path / "vm")
        await identities_of(tmp_path / "vm", controller, token_file, API)
        etcd.kill()
        web = service("web")
        assert await identities_of(tmp_path / "vm", controller, token_file, API, web) == {API, web}
        controller.end(signal.SIGKILL)
        controller.start()
        more = service("more")
        assert await identities_of(tmp_path / "vm", controller, token_file, API, web, more) == {API, web, more}
        status = (await client.get("/v1/status", timeout=20)).json()
        assert status["etcd"]["available"] is False
        etcd.restart()
        await until_leading(client, controller)


async def test_a_controller_that_cannot_belong_to_the_mesh_ends_and_names_the_reason(
    tmp_path: Path, etcd_and_controller: tuple[EtcdProcess, Process]
) -> None:
    etcd, controller = etcd_and_controller
    async with operator(controller) as client:
        await until_leading(client, controller)
    create(tmp_path / "stranger" / "ca", trust_domain=TRUST_DOMAIN, now=now_utc())
    with PortClaims() as ports:
        stranger = Process(tmp_path / "stranger", etcd, ports)
        stranger.start()
        try:
            assert await asyncio.to_thread(stranger.wait) != 0
        finally:
            stranger.close()
    assert stranger.said().splitlines()[-1].startswith("ops.founding.NotOurMeshError: the mesh does not trust the root")


async def test_a_controller_ends_in_order_when_it_is_told_to(
    etcd_and_controller: tuple[EtcdProcess, Process],
) -> None:
    _, controller = etcd_and_controller
    async with operator(controller) as client:
        await until_leading(client, controller)
    assert controller.end(signal.SIGTERM) == 0
    assert "Traceback" not in controller.said()


async def test_a_controller_that_starts_before_etcd_says_so_and_founds_the_mesh_when_it_comes(
    etcd_and_controller: tuple[EtcdProcess, Process],
) -> None:
    etcd, controller = etcd_and_controller
    controller.close()
    etcd.kill()
    controller.start()
    async with asyncio.timeout(10):
        while "waiting for etcd" not in controller.said():  # noqa: ASYNC110 - a log is a state, not an event
            await asyncio.sleep(0.05)
    etcd.restart()
    async with operator(controller) as client:
        await until_leading(client, controller)
        assert (await client.get("/v1/status")).json()["mesh"]["trust_domain"] == TRUST_DOMAIN
