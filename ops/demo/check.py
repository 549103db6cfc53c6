"""What `weft demo --check` proves of a running demo, one fact after the other, each through the front door.

How it fails: `prove` tells each fact that does not hold, goes on with the others, and returns 1.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from ops.demo.samples import SAMPLES
from ops.dev.http import call
from ops.dev.layout import ADDRESS, DATACENTER, GATEWAY, TRUST_DOMAIN
from ops.dev.mesh import DevMesh
from registry import keys
from registry.keys import DocumentKey

SECOND = 1.0
PATIENCE = 15.0
LOOK = 0.01
SPLIT_REQUESTS = 300
SPLIT_KEY = DocumentKey("default", "route", "demo-check")
ONLY_V2 = """\
apiVersion: weft/v1
kind: Route
spec:
  service: api
  rules:
  - {name: only-v2, to: [{service: api, labels: {version: v2}}]}
"""
SPLIT = """\
apiVersion: weft/v1
kind: Route
spec:
  service: api
  rules:
  - name: split
    to:
    - {service: api, labels: {version: v1}, weight: 70}
    - {service: api, labels: {version: v2}, weight: 30}
"""
RUBBISH = ONLY_V2.replace("to:", "too:")
KILLED = "api-2"
PLAIN_TEXT = "plain_text"


class Disproved(Exception):
    """A fact does not hold; the message says what was seen instead."""


async def prove(mesh: DevMesh, *, say: Callable[[str], None]) -> int:
    """Prove everything; 0 if all of it holds, else 1."""
    facts: list[tuple[str, Callable[[DevMesh], Awaitable[str]]]] = [
        ("gateway → web → api, each hop over mutual TLS", _through),
        ("https at the gateway, verified with the development CA", _https),
        ("an instance serves its service's identity", _identity),
        ("plain text is refused where the mesh listens", _plain_text),
        ("a Route written to etcd shows in live traffic", _split),
        ("rubbish changes nothing and says what is wrong", _rubbish),
        ("an instance dies without a failed request", _killed),
    ]
    failed = 0
    for fact, proof in facts:
        try:
            say(f"ok      {fact}: {await proof(mesh)}")
        except (Disproved, OSError, ValueError, KeyError) as error:
            failed += 1
            say(f"FAILED  {fact}: {error if isinstance(error, Disproved) else repr(error)}")
    say(f"{len(facts) - failed} of {len(facts)} hold")
    return 1 if failed else 0


async def _through(mesh: DevMesh) -> str:
    began = time.monotonic()
    web = await _get(mesh)
    took = (time.monotonic() - began) * 1000
    api = web["api"]
    assert isinstance(api, dict)
    _is(_caller(web), f"spiffe://{TRUST_DOMAIN}/ns/mesh/dc/{DATACENTER}/gateway/{GATEWAY}", "who called web")
    _is(_caller(api), f"spiffe://{TRUST_DOMAIN}/ns/default/dc/{DATACENTER}/svc/web", "who called api")
    return f"200 in {took:.1f} ms; web was called by gateway {GATEWAY}, api by web, as their certificates say"


async def _https(mesh: DevMesh) -> str:
    trust = ssl.create_default_context(cafile=mesh.layout.state / "ca.pem")
    url = f"https://localhost:{mesh.layout.ports.gateway_https}/"
    answer = await call("GET", url, tls=trust)
    _is(answer.status, 200, f"the status of {url}")
    return url


async def _identity(mesh: DevMesh) -> str:
    sample = SAMPLES[0]
    trust = ssl.create_default_context(cafile=mesh.layout.state / "ca.pem")
    trust.minimum_version = ssl.TLSVersion.TLSv1_3
    trust.check_hostname = False  # the identity is a URI, compared below
    trust.set_alpn_protocols(["http/1.1"])
    name = f"{sample.instance}.{sample.service}.default.{TRUST_DOMAIN}"
    _, writer = await asyncio.open_connection(ADDRESS, mesh.layout.ports.inbound, ssl=trust, server_hostname=name)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    served = [value for kind, value in certificate["subjectAltName"] if kind == "URI"]
    _is(served, [f"spiffe://{TRUST_DOMAIN}/ns/default/dc/{DATACENTER}/svc/{sample.service}"], "the identity served")
    return f"{served[0]} at {ADDRESS}:{mesh.layout.ports.inbound}"


async def _plain_text(mesh: DevMesh) -> str:
    before = await _refused_plain(mesh)
    answer = await call("GET", f"http://{ADDRESS}:{mesh.layout.ports.inbound}/")
    reason = answer.fields.get("x-weft-reason")
    if answer.status < 400 or reason != "tls_required":
        raise Disproved(f"it was answered with {answer.status} and the reason {reason}")
    await _until("the refusal is counted", lambda: _more_refused(mesh, before), within=PATIENCE)
    return f'{answer.status} {reason}, counted as reason="{PLAIN_TEXT}"'


async def _refused_plain(mesh: DevMesh) -> float:
    text = (await call("GET", f"http://{ADDRESS}:{mesh.layout.ports.metrics}/metrics")).body.decode()
    lines = [line for line in text.splitlines() if line.startswith("weft_tls_failures_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if f'reason="{PLAIN_TEXT}"' in line)


async def _more_refused(mesh: DevMesh, before: float) -> bool:
    return await _refused_plain(mesh) > before


async def _split(mesh: DevMesh) -> str:
    name = keys.document(keys.POLICY, SPLIT_KEY)
    try:
        began = time.monotonic()
        await mesh.store.put(name, ONLY_V2.encode())
        await _until("every answer is of v2", lambda: _all_v2(mesh), within=PATIENCE)
        took = time.monotonic() - began
        if took > SECOND:
            raise Disproved(f"it took {took:.2f} s until every answer was of v2")
        revision = await mesh.store.put(name, SPLIT.encode())
        await _until_status(mesh, "accepted", since=revision)
        await _until("both versions answer", lambda: _both(mesh), within=PATIENCE)
        seen = Counter([await _version(mesh) for _ in range(SPLIT_REQUESTS)])
        share = seen["v2"] / SPLIT_REQUESTS
        if not 0.15 < share < 0.45:
            raise Disproved(f"30 % to v2 became {share:.0%} of {SPLIT_REQUESTS} requests")
        return f"all to v2 after {took * 1000:.0f} ms; then 30 % meant {share:.0%} of {SPLIT_REQUESTS} requests"
    finally:
        await mesh.store.delete(name)


async def _rubbish(mesh: DevMesh) -> str:
    name = keys.document(keys.POLICY, SPLIT_KEY)
    try:
        revision = await mesh.store.put(name, ONLY_V2.encode())
        await _until_status(mesh, "accepted", since=revision)
        await _until("every answer is of v2", lambda: _all_v2(mesh), within=PATIENCE)
        began = time.monotonic()
        revision = await mesh.store.put(name, RUBBISH.encode())
        status = await _until_status(mesh, "rejected", since=revision)
        took = time.monotonic() - began
        if took > SECOND:
            raise Disproved(f"its status came after {took:.2f} s")
        if not await _all_v2(mesh):
            raise Disproved("answers changed")
        errors = status["errors"]
        assert isinstance(errors, list)
        first = errors[0]
        return (
            f"after {took * 1000:.0f} ms line {first['line']}, column {first['column']}: {first['message']} "
            f"({first['code']}); in force: {status['in_force']}"
        )
    finally:
        await mesh.store.delete(name)


async def _killed(mesh: DevMesh) -> str:
    held = mesh.layout.state / "hold" / KILLED
    await _until(f"{KILLED} answers", lambda: _serves(mesh, KILLED), within=PATIENCE)
    held.touch()
    try:
        killed = False
        asked = 0
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            answer = await call("GET", f"{mesh.gateway}/")
            if answer.status != 200:
                raise Disproved(f"{answer.status} {answer.fields.get('x-weft-reason', '')} after {asked} requests")
            asked += 1
            if asked == 20 and not killed:
                os.kill(mesh.supervisor.pids[KILLED], signal.SIGKILL)
                killed = True
    finally:
        held.unlink(missing_ok=True)
    return f"{asked} requests, all 200, with {KILLED} killed after the twentieth"


async def _serves(mesh: DevMesh, instance: str) -> bool:
    api = (await _get(mesh))["api"]
    return isinstance(api, dict) and api["instance"] == instance


async def _both(mesh: DevMesh) -> bool:
    return {await _version(mesh) for _ in range(12)} == {"v1", "v2"}


async def _all_v2(mesh: DevMesh) -> bool:
    return {await _version(mesh) for _ in range(6)} == {"v2"}


async def _version(mesh: DevMesh) -> str:
    api = (await _get(mesh))["api"]
    assert isinstance(api, dict)
    return str(api["version"])


async def _get(mesh: DevMesh) -> dict[str, object]:
    answer = await call("GET", f"{mesh.gateway}/")
    if answer.status != 200:
        raise Disproved(f"{mesh.gateway}/ answered {answer.status} {answer.fields.get('x-weft-reason', '')}")
    return answer.json()


def _caller(said: Mapping[str, object]) -> object:
    received = said["received"]
    assert isinstance(received, dict)
    return received["headers"].get("x-weft-caller")


async def _until_status(mesh: DevMesh, state: str, *, since: int) -> dict[str, object]:
    """The document's status, once it is of that state and of a revision not before `since`."""
    name = keys.document(keys.STATUS_POLICY, SPLIT_KEY)
    status: dict[str, object] = {}

    async def told() -> bool:
        nonlocal status
        item = await mesh.store.get(name)
        status = json.loads(item.value) if item is not None else {}
        return status.get("state") == state and int(str(status["revision"])) >= since

    await _until(f"its status is {state}", told, within=PATIENCE)
    return status


async def _until(what: str, probe: Callable[[], Awaitable[bool]], *, within: float) -> None:
    end = time.monotonic() + within
    while not await probe():
        if time.monotonic() > end:
            raise Disproved(f"not within {within:g} s: {what}")
        await asyncio.sleep(LOOK)


def _is(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise Disproved(f"{what} is {found!r} instead of {expected!r}")
