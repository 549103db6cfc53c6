"""Sections that are wrong: named, and nothing beside them is lost."""

from __future__ import annotations

import socket

import pytest

from policy.compiled import Match, Prefix, Regex, Respond, Route, Service
from proxy import sections
from proxy.frames import Ack, Nack
from tests.engine.agent import Agent, traffic
from tests.engine.client import ask, get
from tests.engine.mesh import API, GUARDED, WEB, Mesh

SECTIONS: dict[str, tuple[str, bytes]] = {
    "no msgpack": (sections.service(API), b"\xc1"),
    "empty": (sections.service(API), b""),
    "another kind": (sections.service(API), sections.encode(sections.Inbound("127.0.0.1:1"))),
    "surplus": (sections.service(API), sections.encode(Service()) + b"\x80"),
    "unknown section": ("surprise/api", b"\x80"),
    "no name": ("service/", sections.encode(Service())),
    "bad regex": (
        sections.service(API),
        sections.encode(Service(routes=(Route("a/b", 0, Respond(code=200), (Match(path=Regex("(")),)),))),
    ),
    "bad status": (
        sections.service(API),
        sections.encode(Service(routes=(Route("a/b", 0, Respond(code=99), (Match(path=Prefix("/")),)),))),
    ),
    "bad address": (sections.INBOUND, sections.encode(sections.Inbound("nowhere"))),
    "unknown gateway": (sections.public("x"), sections.encode(sections.Public("127.0.0.1:1", "nobody", "x"))),
    "bad caller": (
        sections.outbound(WEB, API),
        sections.encode(sections.Outbound("127.0.0.1:1", "Not A Name", "default/api")),
    ),
    "bad endpoint": (
        sections.endpoints(API),
        sections.encode(sections.Endpoints((sections.Endpoint("api-1", "h", "nowhere", 1, 1, "", {}, "up"),))),
    ),
}


@pytest.mark.parametrize("case", SECTIONS)
def test_a_section_that_is_wrong_is_named_and_the_whole_apply_is_not_in_force(mesh: Mesh, case: str) -> None:
    name, value = SECTIONS[case]
    answers = sections.encode(Service(routes=(Route("a/b", 0, Respond(code=418), (Match(path=Prefix("/")),)),)))
    with traffic(mesh), Agent(mesh) as agent:
        base = agent.hello().base
        # A good change beside the wrong one is not taken either.
        answer = agent.apply(base, base + 1, set={name: value, sections.service(GUARDED): answers})
        assert isinstance(answer, Nack)
        assert (answer.section, answer.generation) == (name, base + 1)
        assert answer.code
        assert answer.message
        assert [response.status for response in ask(mesh.outbound(GUARDED), get("/secret"))] == [403]
        assert agent.apply(base, base + 1) == Ack(base + 1)
    mesh.publish()


def test_a_refused_section_holds_back_nothing_else(mesh: Mesh) -> None:
    snapshot = mesh.snapshot()
    snapshot[sections.service(API)] = Service(routes=(Route("a/b", 0, Respond(code=99), (Match(path=Prefix("/")),)),))
    snapshot[sections.service(GUARDED)] = Service()
    with traffic(mesh):
        served = mesh.hosts[0].writer.apply(snapshot)
        assert [refusal.section for refusal in served.refused] == [sections.service(API)]
        assert [response.status for response in ask(mesh.outbound(GUARDED), get("/secret"))] == [200]
    mesh.publish()


def test_a_port_that_is_taken_is_named(mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Agent(mesh) as agent:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        base = agent.hello().base
        listener = sections.Outbound(address, str(WEB), str(API))
        with traffic(mesh):
            answer = agent.apply(base, base + 1, set={"listener/taken": sections.encode(listener)})
        assert isinstance(answer, Nack)
        assert (answer.section, answer.code) == ("listener/taken", "bind_failed")
    mesh.publish()


def test_requests_flow_while_everything_is_applied_again_and_again(mesh: Mesh) -> None:
    with traffic(mesh):
        for number in range(50):
            mesh.services[GUARDED] = Service(routes=(Route(f"a/{number}", 0, Respond(code=200)),))
            mesh.endpoints[API] = (mesh.endpoint("api-1"),)
            mesh.publish()
