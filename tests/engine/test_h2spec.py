"""HTTP/2 as h2spec reads RFC 9113 and RFC 7541: every case, against the plain port of an application and a gateway's TLS."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy import sections
from tests.engine.application import Talk
from tests.engine.mesh import Mesh

BODY = b"a body of some length for flow control to work with"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY)
PATIENCE = "1"
"""Seconds h2spec waits for what should come: far longer than an engine needs, and what a case that waits for nothing costs."""

FAILS = {
    "http2/3.5/2: Sends invalid connection preface": (
        "the port speaks HTTP/1.1 too: what does not begin as HTTP/2 is refused in HTTP/1.1 and cut off, which h2spec cannot read"
    ),
}
"""Cases that fail at the plain port, and why that is right. One that passes after all has to leave this table."""

CASES = 146
PARTS = ("generic", "http2/3", "http2/4", "http2/5", "http2/6", "http2/7", "http2/8", "hpack")
"""Each is a run of its own, all at once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one case said."""

    case: str
    failed: str | None
    skipped: bool


@pytest.fixture(scope="module")
def h2spec() -> Path:
    """The program, or a skip that says why there is none."""
    found = shutil.which("h2spec")
    if found is None:
        pytest.skip("no h2spec: it is built from Go modules by `make test` where Go 1.26 or later is installed")
    return Path(found)


@pytest.fixture(params=["plain", "tls"])
def door(mesh: Mesh, request: pytest.FixtureRequest) -> list[str]:
    """What tells h2spec where an application is asked for, at web's own port or at the gateway's public one."""

    def script(talk: Talk) -> None:
        while (asked := talk.request()) is not None:
            talk.send(ANSWER if asked.method == b"HEAD" else ANSWER + BODY)

    mesh.api.script = script
    if request.param == "plain":
        return ["-p", str(mesh.outbound().port)]
    writer, public = mesh.hosts[0].writer, "public/edge/web/0"
    writer.identify({public: mesh.credentials()["gateway:edge"]}, mesh.trust())
    listener = sections.GatewayListener("https", certificates=(public,))
    edge = sections.Gateway(listeners={"web": listener}, routes=mesh.gateway_routes)
    assert writer.apply(mesh.snapshot() | {sections.gateway("edge"): edge}).refused == ()
    return ["-p", str(mesh.gateway().port), "--tls", "--insecure"]


def verdicts(report: Path) -> Iterator[Verdict]:
    """Every case of a report."""
    for suite in ET.parse(report).getroot().iter("testsuite"):
        for number, case in enumerate(suite.iter("testcase"), 1):
            failure = case.find("failure")
            failed = None if failure is None else (failure.text or "").strip()
            if case.find("error") is not None:
                failed = "error"
            name = f"{case.get('package')}/{number}: {case.get('classname')}"
            yield Verdict(name, failed, case.find("skipped") is not None)


def test_every_case_passes(h2spec: Path, door: list[str], tmp_path: Path) -> None:
    runs = {}
    for part in PARTS:
        report = tmp_path / f"{part.replace('/', '-')}.xml"
        command = [str(h2spec), part, "--strict", *door, "-o", PATIENCE, "-j", str(report)]
        runs[report] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = {report: run.communicate(timeout=60)[0].decode() for report, run in runs.items()}
    found = [verdict for report in runs for verdict in verdicts(report)]
    failed = {verdict.case for verdict in found if verdict.failed is not None}
    assert failed == (set() if "--tls" in door else set(FAILS)), "\n".join(said.values())
    assert [verdict.case for verdict in found if verdict.skipped] == []
    assert len(found) == CASES
