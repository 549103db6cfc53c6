"""The control socket: what is no frame, or comes from the wrong agent, is named, and nothing that serves stops serving."""

from __future__ import annotations

import struct

import pytest

from proxy import frames, sections
from proxy.frames import Ack, Nack, Welcome
from tests.engine.agent import Agent, traffic
from tests.engine.mesh import API, Mesh


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 20])
def test_a_frame_that_is_cut_off_changes_nothing(mesh: Mesh, cut: int) -> None:
    frame = frames.encode("hello", {"schema": sections.SCHEMA, "agent": "torn"})
    with traffic(mesh), Agent(mesh) as agent:
        agent.send(frame[:cut])
    assert mesh.hosts[0].writer.client.welcome is not None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 100 * 1024 * 1024),
        struct.pack(">I", 0xFFFFFFFF) + b"a" * 1000,
        struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1",
        struct.pack(">I", 0),
        struct.pack(">I", 1) + b"\x80",
        frames.encode("nonsense", {}),
        frames.encode("hello", {"schema": "one", "agent": 1}),
        frames.encode("hello", {"schema": 1}),
        frames.encode("apply", {"base": 0}),
        struct.pack(">I", 3) + b"\x80\x80\x80",
    ],
    ids=["100 MB", "4 GB", "no msgpack", "empty", "empty map", "unknown", "wrong types", "missing", "half", "surplus"],
)
def test_what_is_no_frame_is_named_and_ends_its_connection(mesh: Mesh, data: bytes) -> None:
    with traffic(mesh), Agent(mesh) as agent:
        agent.send(data)
        answer = agent.hear()
        assert isinstance(answer, Nack)
        assert (answer.code, answer.message != "") == ("bad_frame", True)
        assert agent.ended()
    mesh.publish()


def test_nobody_changes_anything_before_hello(mesh: Mesh) -> None:
    fields = {"base": 0, "generation": 1, "policy": 0, "registry": 0, "reset": True, "set": {}, "delete": []}
    with traffic(mesh), Agent(mesh) as agent:
        answer = agent.say("apply", **fields)
        assert isinstance(answer, Nack)
        assert agent.ended()


def test_an_agent_of_another_schema_is_told_ours(mesh: Mesh) -> None:
    with traffic(mesh), Agent(mesh) as agent:
        welcome = agent.say("hello", schema=99, agent="newer")
        assert isinstance(welcome, Welcome)
        assert welcome.schema == sections.SCHEMA
    mesh.publish()


def test_a_wrong_base_is_told_to_rebase(mesh: Mesh) -> None:
    with traffic(mesh), Agent(mesh) as agent:
        base = agent.hello().base
        for wrong in (base + 1, base - 1, 0):
            answer = agent.apply(wrong, base + 5, delete=[sections.service(API)])
            assert isinstance(answer, Nack)
            assert (answer.code, answer.generation) == ("rebase", base + 5)
        assert agent.apply(base, base + 1) == Ack(base + 1)


def test_a_newer_agent_takes_over_and_the_older_is_hung_up(mesh: Mesh) -> None:
    with traffic(mesh), Agent(mesh) as first:
        first.hello()
        with Agent(mesh) as second:
            second.hello()
            assert first.ended()
            base = second.hello().base
            assert second.apply(base, base + 1) == Ack(base + 1)
    mesh.publish()
