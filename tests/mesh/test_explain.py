"""What `weft explain` says of a request is what becomes of it; a recording is asked again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops.cli.app import run
from tests.mesh.mesh import WEFT, Mesh, eventually, request

ONLY_GET = """\
apiVersion: weft/v1
kind: Access
metadata: {name: explained}
spec:
  service: api
  rules: [{name: web-reads, allow: {from: [web], methods: [GET]}}]
"""


def test_a_request_fares_as_explained_and_a_recording_says_what_would_change(
    documents: Mesh, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = documents
    monkeypatch.setenv("WEFT_STATE", str(mesh.state))

    def weft(*arguments: str) -> tuple[int, Any]:
        code = run(arguments)
        return code, json.loads(capsys.readouterr().out)

    recording = tmp_path / "recording"
    record(mesh, mesh.upstream() + "/before", recording)
    code, found = weft("replay", str(recording), "-o", "json")
    assert (code, found["asked"], found["differ"]) == (0, 2, 0), found
    mesh.wait(mesh.put("access", "explained", ONLY_GET))

    for method in ("GET", "POST"):
        sent = request(mesh.upstream() + "/x", method=method)
        code, found = weft("explain", "api", method, "/x", "-o", "json")
        assert (code, found["reason"]) == (1 if sent.reason else 0, sent.reason), found
        assert found["to"][0]["access"]["rules"][0]["rule"] == "explained/web-reads"
        assert {"name": "retry.max", "value": "1", "from": "built in"} in found["settings"]

    code, found = weft("replay", str(recording), "-o", "json")
    assert (code, found["asked"], found["differ"]) == (1, 2, 2), found
    assert {(one["request"], one["would_be"]) for one in found["differences"]} == {("POST /before", "refused denied")}


def record(mesh: Mesh, url: str, into: Path) -> None:
    """What two engines' sides tell of such requests."""
    command = [str(WEFT), "tap", "service/api", "--path", "/before", "-o", "json", "--count", "2", "--for", "20s"]
    with into.open("wb") as out, subprocess.Popen(command, stdout=out, env=mesh.environment) as tap:
        eventually("two are told", lambda: request(url, method="POST") and tap.poll() is not None, every=0.05)
    assert tap.returncode == 0
