"""What `weft demo break` breaks in a running demo, what mends it, and which command finds it.

Everything is done from outside, with what anybody has who can reach the mesh's files and its etcd: a file that a sample
looks at, a key in the registry, a killed process.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from ops.demo.samples import SAMPLES, trouble_file
from ops.dev.state import Endpoints
from registry import keys
from registry.names import DEFAULT_NAMESPACE, ServiceName
from registry.store import Store

API = ServiceName(DEFAULT_NAMESPACE, "api")
IMPOSTOR = "impostor"
LATENCY = {"delay": 0.5}
ERRORS = {"status": 500}
TOMBSTONE_LIFE = timedelta(minutes=10)


async def make(what: str, state: Path, endpoints: Endpoints) -> list[str]:
    """Break `latency`, `errors`, `cert` or `etcd`; what to tell people."""
    metrics, front = endpoints["engine"]["metrics"], endpoints["gateway"]["http"]
    match what:
        case "latency":
            _misbehave(state, LATENCY)
            broken = "Every instance of api takes half a second longer now."
            seen = f"curl -s -o /dev/null -w '%{{time_total}}\\n' {front}/"
            found = f"curl -s {metrics} | grep duration_seconds_sum    # api is slow inbound too: the application, not the mesh"
        case "errors":
            _misbehave(state, ERRORS)
            broken = "Every instance of api answers 500 now; its checks still pass."
            seen = f"curl -s -o /dev/null -w '%{{http_code}}\\n' {front}/"
            found = (
                f"curl -s {metrics} | grep 'code=\"500\"'    # reason is empty: the application said it, not the mesh"
            )
        case "cert":
            await _intrude(endpoints)
            broken = (
                f"An {IMPOSTOR} is registered as api now, at an address that serves a certificate of somebody else. "
                "It gets no request: callers take another instance."
            )
            seen = "weft get instances"
            found = f"curl -s {metrics} | grep 'tls_failures.*outbound' | grep -v ' 0$'    # why its certificate was refused"
        case _:
            _hold_etcd(state, endpoints)
            broken = "etcd is dead now, and is not started again. Requests go on."
            seen = f"curl -s -o /dev/null -w '%{{http_code}}\\n' {front}/"
            found = "weft status    # exits 3: etcd does not answer"
    return [broken, f"  see it:   {seen}", f"  find it:  {found}", f"  mend it:  weft demo break {what} --restore"]


async def mend(what: str, state: Path, endpoints: Endpoints) -> list[str]:
    """Take it back; one that is not broken is no error."""
    match what:
        case "latency" | "errors":
            for sample in SAMPLES:
                trouble_file(state, sample.instance).unlink(missing_ok=True)
        case "cert":
            await _withdraw(endpoints)
        case _:
            (state / "hold" / "etcd").unlink(missing_ok=True)
    return [f"{what} is mended."]


def _misbehave(state: Path, how: Mapping[str, float]) -> None:
    for sample in SAMPLES:
        if sample.service == API.name:
            file = trouble_file(state, sample.instance)
            file.parent.mkdir(mode=0o700, exist_ok=True)
            new = file.with_suffix(".new")
            new.write_text(json.dumps(how))
            new.replace(file)


async def _intrude(endpoints: Endpoints) -> None:
    """An instance whose address is the gateway's public port, where no certificate of api is."""
    from registry.model import Instance, Protocol, State
    from registry.records import encode_instance

    address = urlsplit(endpoints["gateway"]["https"])
    instance = Instance(
        service=API,
        id=IMPOSTOR,
        host=IMPOSTOR,
        address=f"{address.hostname}:{address.port}",
        port=1,
        protocol=Protocol.HTTP,
        state=State.UP,
        version="v1",
        labels={"version": "v1"},
        since=time.time(),
    )
    async with _store(endpoints) as store:
        await store.put(keys.instance(API, IMPOSTOR), encode_instance(instance))


async def _withdraw(endpoints: Endpoints) -> None:
    """By a tombstone, as everybody leaves."""
    from registry.model import Tombstone
    from registry.records import DEREGISTERED, encode_instance

    async with _store(endpoints) as store:
        if await store.get(keys.instance(API, IMPOSTOR)) is not None:
            lease = await store.grant(TOMBSTONE_LIFE)
            gone = encode_instance(Tombstone(DEREGISTERED, time.time()))
            await store.put(keys.instance(API, IMPOSTOR), gone, lease=lease.id)


def _hold_etcd(state: Path, endpoints: Endpoints) -> None:
    (state / "hold" / "etcd").touch()
    pid = endpoints["pids"]["etcd"]
    assert isinstance(pid, int)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def _store(endpoints: Endpoints) -> AsyncIterator[Store]:
    from registry.etcd import EtcdConfig, EtcdStore

    store = await EtcdStore.connect(EtcdConfig(endpoints=(endpoints["etcd"],), root=endpoints["root"]))
    try:
        yield store
    finally:
        await store.close()
