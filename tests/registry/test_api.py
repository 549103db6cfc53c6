"""The registration API as a program sees it, over a registrar that only remembers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from registry.api import application
from registry.model import Endpoint, Presence, Protocol, Source, State
from registry.names import ServiceName
from registry.registrar import ConflictError, Known, Registered, UpstreamAddress
from registry.registration import Check, Problem, Registration

pytestmark = pytest.mark.anyio

URL = "/v1/services/api/instances/api-1"
API = ServiceName("default", "api")


class Memory:
    """A registrar that keeps what it was given and decides nothing."""

    def __init__(self) -> None:
        self.kept: dict[tuple[ServiceName, str], Registration] = {}
        self.calls: list[str] = []
        self.version = 1
        self.moved = asyncio.Event()

    def touch(self) -> None:
        self.version += 1
        self.moved.set()
        self.moved = asyncio.Event()

    async def register(self, registration: Registration) -> Registered:
        if registration.labels.get("version") == "taken":
            raise ConflictError(Problem("port_taken", "upstreams[0].port", "1", "2", "3"))
        key = (registration.service, registration.id)
        before = self.kept.get(key)
        self.kept[key] = registration
        self.touch()
        return self.said(key, changed=before != registration, created=before is None)

    async def deregister(self, service: ServiceName, instance: str) -> Registered | None:
        answer = self.instance(service, instance)
        self.kept.pop((service, instance), None)
        self.touch()
        return answer

    async def drain(self, service: ServiceName, instance: str) -> Registered | None:
        self.calls.append("drain")
        return self.instance(service, instance)

    def beat(self, service: ServiceName, instance: str) -> bool:
        return self.kept[service, instance].check.kind == "ttl"

    def instance(self, service: ServiceName, instance: str) -> Registered | None:
        return self.said((service, instance)) if (service, instance) in self.kept else None

    def said(self, key: tuple[ServiceName, str], *, changed: bool = False, created: bool = False) -> Registered:
        upstreams = {str(one.service): UpstreamAddress("http://127.0.0.1:1", False) for one in self.kept[key].upstreams}
        state = State.STARTING
        return Registered("/weft/registry/x", 7, "etcd", state, "", "spiffe://x/y", upstreams, changed, created)

    def known(self) -> Known:
        services: dict[ServiceName, tuple[Endpoint, ...]] = {}
        for service, id_ in self.kept:
            one = Endpoint(
                service, id_, "vm-1", "10.0.0.1:1", 2, Protocol.HTTP, State.UP, Presence.CONFIRMED, Source.ETCD
            )
            services[service] = (*services.get(service, ()), one)
        return Known(self.version, "etcd", 0.0, services, {})

    async def changed(self, seen: int) -> int:
        while seen == self.version:
            await self.moved.wait()
        return self.version

    def status(self) -> Mapping[str, object]:
        return {"host": "vm-1"}

    def gauges(self) -> Mapping[str, float]:
        return {"weft_agent_engine_connected": 1.0}


@asynccontextmanager
async def client(registrar: Memory) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=application(registrar))
    async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as http:
        yield http


async def test_a_registration_is_made_once_and_then_found_again() -> None:
    registrar = Memory()
    async with client(registrar) as http:
        body = {"port": 8080, "labels": {"version": "v2"}, "upstreams": [{"service": "db", "port": 9191}]}
        first, second = await http.put(URL, json=body), await http.put(URL, json=body)
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == {
            "key": "/weft/registry/x",
            "revision": 7,
            "stored": "etcd",
            "state": "starting",
            "why": "",
            "identity": "spiffe://x/y",
            "upstreams": {"default/db": {"url": "http://127.0.0.1:1", "known": False}},
            "changed": True,
        }
        assert second.json()["changed"] is False
        assert (await http.get(URL)).status_code == 200
        assert (await http.delete(URL)).status_code == 200
        assert (await http.get(URL)).status_code == 404
    kept = Registration(API, "api-1", 8080)
    assert kept.check == Check(kind="tcp", interval=1.0), "no check means a connect every second"


@pytest.mark.parametrize("protocol", ["http", "http2", "grpc", "tcp"])
async def test_every_protocol_that_engines_carry_is_registered(protocol: str) -> None:
    async with client(Memory()) as http:
        assert (await http.put(URL, json={"port": 8080, "protocol": protocol})).status_code == 201


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({}, "missing_field", "port"),
        ({"port": 0}, "invalid_value", "port"),
        ({"port": "8080"}, "invalid_value", "port"),
        ({"port": 8080, "prot": "http"}, "unknown_field", "prot"),
        ({"port": 8080, "labels": {"version": 1.1}}, "invalid_value", "labels.version"),
        ({"port": 8080, "weight": 1001}, "invalid_value", "weight"),
        ({"port": 8080, "check": {}}, "invalid_value", "check"),
        ({"port": 8080, "check": {"http": "/", "tcp": True}}, "invalid_value", "check"),
        ({"port": 8080, "check": {"http": "/a\r\nx: y"}}, "invalid_value", "check.http"),
        ({"port": 8080, "check": {"tcp": True, "interval": "5"}}, "invalid_value", "check.interval"),
        ({"port": 8080, "check": {"tcp": True, "interval": "1ms"}}, "invalid_value", "check.interval"),
        ({"port": 8080, "upstreams": [{"service": "A"}]}, "invalid_name", "upstreams[0].service"),
        ({"port": 8080, "upstreams": [{"service": "a"}, {"service": "default/a"}]}, "duplicate", "upstreams[1]"),
        ({"port": 8080, "namespace": "UP"}, "invalid_name", "namespace"),
        ([], "invalid_value", ""),
    ],
)
async def test_bad_input_is_a_problem_with_a_place_and_changes_nothing(body: object, code: str, path: str) -> None:
    registrar = Memory()
    async with client(registrar) as http:
        answer = await http.put(URL, json=body)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["code"], problem["path"]) == (code, path)
        assert problem["expected"]
        assert problem["fix"]
        assert problem["found"] is not None
    assert registrar.kept == {}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"port": 1, "port": 2}', b"[" * 10_000])
async def test_what_is_not_json_is_refused_as_such(content: bytes) -> None:
    async with client(Memory()) as http:
        answer = await http.put(URL, content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


async def test_every_problem_is_told_at_once() -> None:
    async with client(Memory()) as http:
        errors = (await http.put(URL, json={"port": 0, "weight": -1, "lables": {}})).json()["errors"]
    assert {error["path"] for error in errors} == {"port", "weight", "lables"}
    assert next(error for error in errors if error["path"] == "lables")["fix"] == "did you mean 'labels'?"


async def test_the_namespace_is_said_once_or_the_same_twice() -> None:
    registrar = Memory()
    async with client(registrar) as http:
        assert (await http.put(URL + "?namespace=shop", json={"port": 1})).status_code == 201
        assert (await http.put(URL, json={"port": 1, "namespace": "shop"})).status_code == 200
        answer = await http.put(URL + "?namespace=shop", json={"port": 1, "namespace": "other"})
        assert answer.json()["code"] == "namespace_conflict"
        assert (await http.get(URL)).status_code == 404
        assert (await http.get(URL + "?namespace=shop")).status_code == 200
    assert list(registrar.kept) == [(ServiceName("shop", "api"), "api-1")]


async def test_a_conflict_says_what_is_in_the_way() -> None:
    async with client(Memory()) as http:
        answer = await http.put(URL, json={"port": 1, "labels": {"version": "taken"}})
    assert (answer.status_code, answer.json()["code"]) == (409, "port_taken")


async def test_names_in_a_path_are_names() -> None:
    async with client(Memory()) as http:
        for url in ("/v1/services/API/instances/a", "/v1/services/api/instances/A_1"):
            assert (await http.put(url, json={"port": 1})).json()["code"] == "invalid_name"
            assert (await http.get(url)).status_code == 400
        assert (await http.get("/v1/nothing")).json()["code"] == "unknown_path"
        assert (await http.patch(URL)).status_code == 405


async def test_only_a_ttl_check_beats() -> None:
    async with client(Memory()) as http:
        await http.put(URL, json={"port": 1})
        assert (await http.put(URL + "/ttl")).json()["code"] == "no_ttl_check"
        await http.put(URL, json={"port": 1, "check": {"ttl": "15s"}})
        assert (await http.put(URL + "/ttl")).status_code == 200
        assert (await http.put("/v1/services/api/instances/other/ttl")).status_code == 404


async def test_listings_name_state_source_and_revision() -> None:
    async with client(Memory()) as http:
        await http.put(URL, json={"port": 1})
        everything = (await http.get("/v1/services")).json()
        assert everything["services"] == [
            {"service": "api", "namespace": "default", "protocol": "http", "state": "up", "instances": 1, "up": 1}
        ]
        one = (await http.get("/v1/services/api")).json()
        assert (one["source"], one["revision"], one["instances"][0]["source"]) == ("etcd", 2, "etcd")
        assert (await http.get("/v1/services/api?namespace=shop")).status_code == 404
        assert (await http.get("/v1/services?namespace=shop")).json()["services"] == []


async def test_a_watch_streams_what_is_newer_than_its_revision() -> None:
    registrar = Memory()
    lines: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            lines.put_nowait(json.loads(message["body"]))

    await registrar.register(Registration(API, "api-1", 1))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/v1/services/api",
        "query_string": f"watch=1&from={registrar.version}".encode(),
        "headers": [],
    }
    watching = asyncio.ensure_future(application(registrar)(scope, receive, send))
    await asyncio.sleep(0)
    await registrar.register(Registration(API, "api-2", 1))
    async with asyncio.timeout(5):
        line = await lines.get()
        assert [one["id"] for one in line["instances"]] == ["api-1", "api-2"]
        await registrar.deregister(API, "api-1")
        assert [one["id"] for one in (await lines.get())["instances"]] == ["api-2"]
    watching.cancel()


async def test_the_api_describes_itself() -> None:
    async with client(Memory()) as http:
        described = (await http.get("/v1/openapi.json")).json()
        assert described["openapi"].startswith("3.")
        assert "port" in described["components"]["schemas"]["Registration"]["required"]
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/v1/status")).json() == {"host": "vm-1"}
        assert "weft_agent_engine_connected 1" in (await http.get("/metrics")).text
