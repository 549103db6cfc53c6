"""Policy shows in traffic within a second, and rubbish costs nothing."""

from __future__ import annotations

import re
import time
from collections import Counter

from tests.mesh.load import Load
from tests.mesh.mesh import Mesh, eventually

SPLIT = """\
# thirty percent to v2
apiVersion: weft/v1
kind: Route
metadata: {name: api-split}
spec:
  service: api
  rules:
  - name: canary
    to:
    - {service: api, labels: {version: v1}, weight: 70}
    - {service: api, labels: {version: v2}, weight: 30}
"""

PINNED = """\
apiVersion: weft/v1
kind: Route
spec:
  service: api
  rules:
  - name: only-v2
    to: [{service: api, labels: {version: v2}}]
"""

RUBBISH = """\
apiVersion: weft/v1
kind: Route
spec:
  service: api
  rules:
  - name: broken
    to: [{service: api, wieght: 3}]
    timeout: soon
"""


def versions(mesh: Mesh, requests: int) -> Counter[str]:
    return Counter(mesh.get("/").json["api"]["version"] for _ in range(requests))


def test_a_split_put_with_etcdctl_shows_within_a_second_and_goes_with_its_document(documents: Mesh) -> None:
    mesh = documents
    # First a document that can be told from the default in one request: how long until it shows?
    began = time.monotonic()
    mesh.put("route", "api-split", PINNED)
    eventually("every answer is of v2", lambda: versions(mesh, 5) == {"v2": 5}, within=2.0)
    assert time.monotonic() - began < 1.0

    mesh.wait(mesh.put("route", "api-split", SPLIT))
    seen = versions(mesh, 400)
    # 30 % of 400 is 120, with a standard deviation of 9.2: five of them on either side.
    assert 74 <= seen["v2"] <= 166, seen

    mesh.wait(mesh.remove("route", "api-split"))
    # The better of two picked at random: v1, two of three instances, gets a third even where v2 answers fastest.
    # A third of 120 is 40, with a standard deviation of 5.2: five of them below.
    assert versions(mesh, 120)["v1"] >= 14


def test_rubbish_changes_no_answer_and_its_status_says_where_and_why(documents: Mesh) -> None:
    mesh = documents
    mesh.wait(mesh.put("route", "api-split", PINNED))
    with Load(mesh.gateway + "/", rate=100) as load:
        began = time.monotonic()
        mesh.put("route", "api-split", RUBBISH)
        status = eventually(
            "the status of the broken document",
            lambda: s if (s := mesh.status_of("route", "api-split")) and s["state"] == "rejected" else None,
            within=2.0,
        )
        assert time.monotonic() - began < 1.0
        assert status["in_force"] == "last-good"
        places = {(error["line"], error["column"]): error for error in status["errors"]}
        assert (7, 25) in places, status
        assert "weight" in places[(7, 25)]["message"], "an unknown field is answered with a suggestion"
        assert any(error["line"] == 8 for error in status["errors"]), "every error is reported, not the first only"
        assert all(re.fullmatch(r"WEFT\d{4}", error["code"]) for error in status["errors"])
        assert versions(mesh, 10) == {"v2": 10}
        load.more(50)
    load.check(at_least=50)


def test_bytes_that_are_no_yaml_are_refused_where_their_author_looks(documents: Mesh) -> None:
    mesh = documents
    mesh.put("route", "no-yaml", "spec: [}\n")
    status = eventually("its status", lambda: mesh.status_of("route", "no-yaml"), within=1.5)
    assert status["state"] == "rejected"
    assert status["in_force"] == "none"
    assert status["errors"][0]["line"] == 1
    assert mesh.get("/").status == 200


def test_routes_match_path_method_header_and_caller(documents: Mesh) -> None:
    mesh = documents
    revision = mesh.put(
        "route",
        "api-matches",
        """\
apiVersion: weft/v1
kind: Route
spec:
  service: api
  rules:
  - name: not-web
    match: [{from: [somebody-else]}]
    respond: {code: 418, body: not for you}
  - name: testers
    match: [{path: {prefix: /v2}, headers: {x-canary: "yes"}, from: [web]}]
    to: [{service: api, labels: {version: v2}}]
  - name: teapot
    match: [{path: {exact: /teapot}, methods: [GET]}]
    respond: {code: 418, body: short and stout}
""",
    )
    mesh.wait(revision)
    from tests.mesh.mesh import request

    api = mesh.upstream()
    canary = [request(f"{api}/v2/x", fields={"x-canary": "yes"}) for _ in range(12)]
    assert {answer.json["version"] for answer in canary} == {"v2"}
    plain = [request(f"{api}/v2/x") for _ in range(30)]
    assert "v1" in {answer.json["version"] for answer in plain}, "the header decides"
    longer = [request(f"{api}/v20", fields={"x-canary": "yes"}) for _ in range(30)]
    assert "v1" in {answer.json["version"] for answer in longer}, "a prefix is whole segments"
    assert request(f"{api}/teapot").status == 418
    assert request(f"{api}/teapot").body == b"short and stout"
    assert request(f"{api}/teapot", method="POST").status == 200


def test_apply_get_delete_and_their_exit_codes(documents: Mesh) -> None:
    mesh = documents
    done = mesh.weft("apply", "-f", "-", stdin=SPLIT)
    assert done.returncode == 0, done.stderr
    assert "created" in done.stdout
    found = re.search(r"revision\s+(\d+)", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    assert mesh.weft("wait", "--revision", found[1]).returncode == 0
    again = mesh.weft("apply", "-f", "-", stdin=SPLIT)
    assert again.returncode == 0
    assert "unchanged" in again.stdout
    key = f"{mesh.endpoints['root']}policy/default/route/api-split"
    assert mesh.etcdctl("get", key, "--print-value-only").rstrip("\n") == SPLIT.rstrip("\n"), "comments are kept"

    listed = mesh.weft("get", "routes", "-o", "name")
    assert listed.returncode == 0
    assert "api-split" in listed.stdout
    assert mesh.weft("get", "route/api-split").returncode == 0
    assert mesh.weft("get", "route/nowhere").returncode == 1

    invalid = mesh.weft("apply", "-f", "-", stdin=RUBBISH.replace("kind: Route", "kind: Route\nmetadata: {name: bad}"))
    assert invalid.returncode == 4
    assert "WEFT" in invalid.stderr
    assert "line 8" in invalid.stderr or ":8:" in invalid.stderr
    assert mesh.weft("get", "route/bad").returncode == 1, "nothing of an invalid set is written"
    assert mesh.weft("apply").returncode == 2

    gone = mesh.weft("delete", "route/api-split")
    assert gone.returncode == 0, gone.stderr
    assert mesh.weft("get", "route/api-split").returncode == 1


def test_status_tells_a_mesh_that_is_well(mesh: Mesh) -> None:
    def well() -> bool:
        done = mesh.weft("status")
        assert done.returncode == 0, done.stdout + done.stderr
        return "mesh dev.weft" in done.stdout and "leader" in done.stdout

    assert eventually("weft status says that all is well", well, within=10)


def test_wait_returns_2_without_a_revision_and_6_for_one_that_never_comes(mesh: Mesh) -> None:
    assert mesh.weft("wait").returncode == 2
    future = mesh.weft("wait", "--revision", "999999999", "--timeout", "1s")
    assert future.returncode == 6, future.stderr
    assert future.stderr
