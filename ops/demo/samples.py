"""The sample services of `weft demo`: `web`, which calls `api`; `api` twice in v1 and once in v2. How they are started and registered."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from ops.dev.http import Answer, call
from ops.dev.mesh import DevMesh
from ops.dev.process import Spec
from proxy.ports import PortClaims

SCRIPT = Path(__file__).with_name("sample.py")


@dataclass(frozen=True, slots=True)
class Sample:
    """One instance to be."""

    service: str
    instance: str
    version: str
    upstreams: tuple[str, ...] = ()


SAMPLES = (
    Sample("api", "api-1", "v1"),
    Sample("api", "api-2", "v1"),
    Sample("api", "api-3", "v2"),
    Sample("web", "web-1", "v1", ("api",)),
)


class SampleError(Exception):
    """A sample could not be put into the mesh."""

    code = "registration_refused"


async def start(mesh: DevMesh, claims: PortClaims) -> None:
    """Start and register them all, well behaved."""
    for sample in SAMPLES:
        trouble_file(mesh.layout.state, sample.instance).unlink(missing_ok=True)
    async with asyncio.TaskGroup() as tasks:
        for sample in SAMPLES:
            tasks.create_task(_start(mesh, sample, claims.claim()))


async def _start(mesh: DevMesh, sample: Sample, port: int) -> None:
    answer = await call("PUT", _url(mesh, sample), body=registration(sample, port))
    if answer.status not in (200, 201):
        raise SampleError(
            f"the agent refused {sample.instance}: {answer.status} {answer.body.decode(errors='replace')}"
        )
    urls = _upstreams(answer)
    if urls:
        mesh.upstreams[sample.service] = urls
    await mesh.supervisor.run(_spec(mesh, sample, port, urls))


async def withdraw(mesh: DevMesh) -> None:
    """Take the registrations back, as well as it goes in a second: the mesh is about to end."""

    async def one(sample: Sample) -> None:
        try:
            await call("DELETE", _url(mesh, sample), timeout=1.0)
        except OSError:
            return  # `deregister_after` does it when this state directory is used again

    await asyncio.gather(*map(one, SAMPLES))


def trouble_file(state: Path, instance: str) -> Path:
    """Where an instance looks how to misbehave; `ops/demo/trouble.py` writes it."""
    return state / "trouble" / f"{instance}.json"


def registration(sample: Sample, port: int) -> dict[str, object]:
    """What is put at the agent."""
    return {
        "port": port,
        "version": sample.version,
        "labels": {"version": sample.version},
        "check": {"http": "/healthz", "interval": "1s", "timeout": "500ms"},
        "upstreams": [{"service": upstream} for upstream in sample.upstreams],
        "deregister_after": "10m",
    }


def _url(mesh: DevMesh, sample: Sample) -> str:
    return f"{mesh.agent}/v1/services/{sample.service}/instances/{sample.instance}"


def _upstreams(answer: Answer) -> dict[str, str]:
    found = answer.json()["upstreams"]
    assert isinstance(found, dict)
    return {name: upstream["url"] for name, upstream in found.items()}


def _spec(mesh: DevMesh, sample: Sample, port: int, urls: dict[str, str]) -> Spec:
    command = [sys.executable, "-S", str(SCRIPT), "--service", sample.service, "--instance", sample.instance]
    command += ["--version", sample.version, "--port", str(port)]
    command += ["--trouble", str(trouble_file(mesh.layout.state, sample.instance))]
    environment = {f"WEFT_UPSTREAM_{name.upper().replace('-', '_')}_URL": url for name, url in urls.items()}
    return Spec(sample.instance, tuple(command), environment, service=True)
