"""What the evaluator says is what the running engine does: random snapshots, random requests, at every door.

Services have nobody at times, or only who drains, and stand in for each other.

A request that a caller's engine forwards is asked about again at the inbound listener of the instance, as the caller that its
certificate proves, with the target that the first answer tells. `WEFT_SOAK=1` tries thirty times as many snapshots.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import msgpack
import pytest

from policy.compiled import (
    Access,
    Exact,
    Forward,
    Match,
    PathMatch,
    Prefix,
    Present,
    Redirect,
    Regex,
    Respond,
    Rewrite,
    Route,
    Rule,
    Service,
    Target,
    Traffic,
    ValueMatch,
)
from proxy import sections
from registry.names import ServiceName, SpiffeId
from tests.engine.client import Door, ask
from tests.engine.mesh import API, DATACENTER, GUARDED, TRUST_DOMAIN, WEB, Mesh, running
from tests.support.engine import engine_binary

SNAPSHOTS = 1_500 if os.environ.get("WEFT_SOAK") else 50
REQUESTS = 12
PATHS = ["/", "/a", "/a/b", "/a/b/", "/b", "/admin", "/admin/x", "/ab", "/a?b=/admin", "/a//b", "/a/../admin", "/a/%2e%2e/b",
         "/a%2fb", "/%61", "/a b", "*"]  # fmt: skip
METHODS = ["GET", "GET", "POST", "PUT", "get"]
HOSTS = ["api.test", "API.test:80", "guarded.test", "x.y.test", "other"]
AS_WEB = str(SpiffeId.of_service(TRUST_DOMAIN, DATACENTER, WEB))
EDGE = str(SpiffeId.of_gateway(TRUST_DOMAIN, DATACENTER, "edge"))
CALLERS = ["default/web", "default/*", "default/api", "gateway:edge", "*"]


@dataclass(frozen=True)
class Outcome:
    """What comes of a request, as far as both can tell."""

    status: int
    reason: str
    location: str = ""
    body: str = ""
    instance: str = ""
    target: str = ""


class Evaluator:
    """`weft-engine eval`, asked one line after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.turned = 0
        """How often another service stood in."""
        self._process = process

    def serve(self, snapshot: Mapping[str, object]) -> None:
        """From now on this is asked about."""
        plain = {name: msgpack.unpackb(sections.encode(section)) for name, section in snapshot.items()}
        self._write({"sections": plain})

    def ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        """What would happen."""
        self._write(question)
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, (question, answer)
        self.turned += bool(answer.get("elsewhere"))
        return answer

    def _write(self, line: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()


@contextmanager
def evaluating() -> Iterator[Evaluator]:
    """An evaluator for the length of a test."""
    command = [str(engine_binary()), "eval"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Evaluator(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


# === what is random ===


def some(random: Random, things: list[str], most: int) -> tuple[str, ...]:
    """None, one or more of them."""
    return tuple(random.sample(things, random.randint(0, most)))


def a_path(random: Random) -> PathMatch:
    paths: list[PathMatch] = [Prefix("/a"), Prefix("/a/b"), Prefix("/"), Prefix("/admin"), Exact("/a"), Exact("/")]
    return random.choice([*paths, Regex("/a.*"), Regex("/[ab]+(/b)?")])


def a_match(random: Random) -> Match:
    values: list[ValueMatch] = [Exact("ann"), Regex("a.*|bob"), Present(True), Present(False)]
    return Match(
        path=a_path(random) if random.random() < 0.7 else None,
        methods=some(random, ["GET", "POST"], 1),
        headers={"x-user": random.choice(values)} if random.random() < 0.4 else {},
        callers=some(random, CALLERS, 2) if random.random() < 0.3 else (),
    )


def an_action(random: Random, number: int) -> Forward | Redirect | Respond:
    what = random.random()
    if what < 0.2:
        return Respond(code=random.choice([200, 403, 503]), body=f"said {number}")
    if what < 0.35:
        return Redirect(host=random.choice([None, "other.test"]), path=random.choice([None, "/b"]), code=307)
    service = random.choice([API, API, GUARDED])
    labels = random.choice([{}, {}, {"version": "v1"}, {"version": "v2"}, {"version": "v3"}])
    rewrite = Rewrite(path_prefix=random.choice([None, None, "/b", "/admin"]))
    return Forward(to=(Target(str(service), 1, labels),), on_empty=random.choice(["spill", "fail"]), rewrite=rewrite)


def some_routes(random: Random, *, hosts: bool) -> tuple[Route, ...]:
    named = [*HOSTS, "*.test", "*.y.test"]
    return tuple(
        Route(
            f"random/{number}",
            random.randint(0, 3),
            an_action(random, number),
            matches=tuple(a_match(random) for _ in range(random.randint(0, 3))),
            hosts=some(random, [host.lower().removesuffix(":80") for host in named], 2) if hosts else (),
            allow_encoded_slash=random.random() < 0.3,
        )
        for number in range(random.randint(0, 8))
    )


def an_access(random: Random) -> Access:
    rules = tuple(
        Rule(
            f"random/{number}",
            random.choice(["allow", "allow", "deny"]),
            shadow=random.random() < 0.2,
            callers=some(random, CALLERS, 2),
            methods=some(random, ["GET", "POST"], 1),
            paths=(a_path(random),) if random.random() < 0.5 else (),
        )
        for number in range(random.choice([0, 0, 1, 2, 3]))
    )
    return Access(default=random.choice(["allow", "allow", "deny"]), rules=rules)


def a_traffic(random: Random, other: ServiceName) -> Traffic:
    return Traffic(failover=(str(other),) if random.random() < 0.6 else ())


def shuffle(mesh: Mesh, random: Random) -> None:
    """Another snapshot."""
    mesh.services = {
        WEB: Service(),
        API: Service(
            routes=some_routes(random, hosts=False), access=an_access(random), traffic=a_traffic(random, GUARDED)
        ),
        GUARDED: Service(access=an_access(random), traffic=a_traffic(random, API)),
    }
    mesh.gateway_routes = some_routes(random, hosts=True)
    labelled = [replace(mesh.endpoint(f"api-{number}"), labels={"version": f"v{number}"}) for number in (1, 2)]
    mesh.endpoints = {API: tuple(labelled), GUARDED: (mesh.endpoint("guarded-1"),)}
    for service in (API, GUARDED):
        if random.random() < 0.2:
            mesh.endpoints[service] = ()
        elif random.random() < 0.1:
            mesh.endpoints[service] = tuple(replace(one, state="drain") for one in mesh.endpoints[service])


def a_question(random: Random, *, inbound: bool) -> dict[str, object]:
    """With or without the inbound listener among the doors: nobody can ask there for an instance that does not exist."""
    door = random.choice(["outbound", "outbound", "gateway", *(["inbound"] if inbound else [])])
    listener = {
        "outbound": sections.outbound(WEB, API),
        "gateway": sections.public("web"),
        "inbound": sections.INBOUND,
    }[door].removeprefix("listener/")
    question: dict[str, object] = {
        "listener": listener,
        "method": random.choice(METHODS),
        "target": random.choice(PATHS),
        "host": random.choice(HOSTS),
        "headers": random.choice([[], [["x-user", "ann"]], [["x-user", "bob"]], [["X-User", "a"], ["x-user", "nn"]]]),
        "lost": 0,
    }
    if door == "inbound":
        question |= {"caller": AS_WEB, "service": str(API), "instance": "api-1"}
    return question


# === what is said, and what is done ===


def foretold(evaluator: Evaluator, question: Mapping[str, object]) -> set[Outcome]:
    """All that may come of it."""
    answer = evaluator.ask(question)
    match answer["outcome"]:
        case "refuse":
            return {Outcome(answer["status"], answer["reason"])}
        case "answer":
            return {Outcome(answer["status"], "", answer["location"] or "", answer["body"])}
    if answer["way"] == "here":
        (instance,) = answer["rotation"]
        return {Outcome(200, "", body="ok", instance=instance, target=answer["target"])}
    goes = answer["elsewhere"] or answer
    by = EDGE if answer["source"].startswith("gateway") else AS_WEB
    found = set[Outcome]()
    for instance in goes["rotation"]:
        hop = {
            **question,
            "listener": sections.INBOUND.removeprefix("listener/"),
            "caller": by,
            "service": goes["to"],
            "instance": instance,
            "target": answer["target"],
        }
        found |= foretold(evaluator, hop)
    return found


def done(mesh: Mesh, question: Mapping[str, Any]) -> Outcome:
    """What comes of it."""
    for application in mesh.applications.values():
        application.requests.clear()
    lines = [f"{question['method']} {question['target']} HTTP/1.1", f"host: {question['host']}"]
    lines += [f"{name}: {value}" for name, value in question["headers"]]
    (response,) = ask(door(mesh, question["listener"]), ("\r\n".join(lines) + "\r\n\r\n").encode())
    body = "" if response.reason else response.body.decode()
    location = dict(response.fields).get(b"location", b"").decode()
    got = [
        (instance, request.target.decode())
        for instance, application in mesh.applications.items()
        for request in application.requests
    ]
    instance, target = got[0] if got else ("", "")
    assert len(got) <= 1
    return Outcome(response.status, response.reason, location, body, instance, target)


def door(mesh: Mesh, listener: str) -> Door:
    if listener == sections.INBOUND.removeprefix("listener/"):
        return mesh.inbound()
    return mesh.gateway() if listener == sections.public("web").removeprefix("listener/") else mesh.outbound()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """An engine with two instances of api."""
    with running(tmp_path_factory.mktemp("eval"), instances=("api-2",)) as mesh:
        yield mesh


def test_the_engine_does_what_the_evaluator_says(two: Mesh) -> None:
    seen = dict[tuple[int, str], int]()
    with evaluating() as evaluator:
        for seed in range(SNAPSHOTS):
            random = Random(seed)
            shuffle(two, random)
            two.publish()
            evaluator.serve(two.snapshot())
            for _ in range(REQUESTS):
                question = a_question(random, inbound=bool(two.endpoints[API]))
                expected, found = foretold(evaluator, question), done(two, question)
                assert found in expected, f"snapshot {seed}: {json.dumps(question)}\n{found}\nforetold: {expected}"
                seen[found.status, found.reason] = seen.get((found.status, found.reason), 0) + 1
    # What never happened was not tested.
    wanted = {(200, ""), (307, ""), (403, "denied"), (404, "no_route"), (400, "bad_request"), (503, "no_endpoint")}
    assert wanted <= seen.keys(), seen
    assert evaluator.turned > 10
