"""The operator API over the store in memory: what it answers, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from ops.api.operator import Operator
from ops.metrics import ControllerMetrics
from registry import keys
from registry.memory import MemoryStore
from registry.model import Instance, Protocol, State
from registry.names import ServiceName
from registry.pki.members import Members
from registry.records import encode_instance

pytestmark = pytest.mark.anyio

ROUTE = b"# kept as it is\napiVersion: weft/v1\nkind: Route\nmetadata: {name: api}\nspec: {service: api, rules: [{to: [{service: api}]}]}\n"
PATH = "/v1/policy/default/route/api"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx2.AsyncClient]:
    async with calling(store) as made:
        yield made


def calling(store: MemoryStore, *, caller: str = "127.0.0.1") -> httpx2.AsyncClient:
    operator = Operator(
        store=store, host="ctl-1", members=Members, metrics=ControllerMetrics(), root_digest=lambda: "ab" * 32
    )
    transport = httpx2.ASGITransport(operator.app(), client=(caller, 1))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:7510")


async def test_a_document_is_kept_byte_for_byte(client: httpx2.AsyncClient, store: MemoryStore) -> None:
    assert (await client.put(PATH, content=ROUTE)).json()["results"][0]["result"] == "created"
    answer = await client.get(PATH)
    assert answer.content == ROUTE
    item = await store.get("policy/default/route/api")
    assert item is not None
    assert (item.value, answer.headers["etag"]) == (ROUTE, f'"{item.mod_revision}"')


async def test_a_document_may_leave_its_metadata_to_the_path(client: httpx2.AsyncClient) -> None:
    answer = await client.put(PATH, content=ROUTE.replace(b"metadata: {name: api}\n", b""))
    assert answer.status_code == 200, answer.text


async def test_rubbish_is_refused_with_line_column_and_code_and_changes_nothing(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    answer = await client.put(PATH, content=ROUTE.replace(b"rules", b"rulez"))
    assert answer.status_code == 422
    body = answer.json()
    assert (answer.headers["content-type"], body["code"]) == ("application/problem+json", "invalid_documents")
    assert body["errors"][0]["line"] > 0
    assert body["errors"][0]["column"] > 0
    assert body["errors"][0]["code"].startswith("WEFT")
    assert (await store.list(keys.POLICY)).items == ()


async def test_a_document_that_names_another_than_its_path_is_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.put("/v1/policy/default/route/web", content=ROUTE)
    assert answer.status_code == 422


async def test_a_set_is_written_whole_or_not_at_all(client: httpx2.AsyncClient, store: MemoryStore) -> None:
    other = ROUTE.replace(b"{name: api}", b"{name: web}").decode()
    files = [{"name": "a.yaml", "content": ROUTE.decode()}, {"name": "b.yaml", "content": other.replace("rules", "x")}]
    assert (await client.post("/v1/apply", json={"files": files})).status_code == 422
    assert (await store.list(keys.POLICY)).items == ()
    files[1]["content"] = other
    done = (await client.post("/v1/apply", json={"files": files, "namespace": "shop"})).json()
    assert [(one["namespace"], one["name"], one["result"]) for one in done["results"]] == [
        ("shop", "api", "created"),
        ("shop", "web", "created"),
    ]
    again = (await client.post("/v1/apply", json={"files": files, "namespace": "shop"})).json()
    assert {one["result"] for one in again["results"]} == {"unchanged"}


async def test_documents_are_listed_and_taken_back(client: httpx2.AsyncClient) -> None:
    await client.put(PATH, content=ROUTE)
    listed = (await client.get("/v1/policy", params={"kind": "route"})).json()["documents"]
    assert [(one["namespace"], one["kind"], one["name"]) for one in listed] == [("default", "route", "api")]
    assert (await client.get("/v1/policy", params={"kind": "access"})).json()["documents"] == []
    assert (await client.delete(PATH)).json()["results"][0]["result"] == "deleted"
    gone = await client.delete(PATH)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


async def test_waiting_tells_when_time_is_up(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/wait", json={"revision": 999, "timeout": "50ms"})
    assert (answer.status_code, answer.json()["outcome"], answer.json()["covered"]) == (200, "waiting", False)


async def test_tokens_are_made_on_this_machine_only(store: MemoryStore) -> None:
    async with calling(store, caller="10.0.0.9") as far:
        answer = await far.post("/v1/tokens", json={"services": ["*"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "loopback_only")
    assert (await store.list(keys.PKI_TOKEN)).items == ()


async def test_services_are_listed_with_their_instances(client: httpx2.AsyncClient, store: MemoryStore) -> None:
    api = ServiceName("shop", "api")
    one = Instance(api, "api-1", "vm-1", "10.0.0.1:7502", 8080, Protocol.HTTP, State.UP, version="v1")
    await store.put(keys.instance(api, "api-1"), encode_instance(one))
    body = (await client.get("/v1/services")).json()
    assert body["revision"] == 2
    [found] = body["services"]
    assert (found["namespace"], found["service"], found["protocol"]) == ("shop", "api", "http")
    [instance] = found["instances"]
    assert (instance["instance"], instance["state"], instance["presence"], instance["source"]) == (
        "api-1",
        "up",
        "confirmed",
        "etcd",
    )
    assert (await client.get("/v1/status")).json()["services"] == {"total": 1, "up": 1, "down": []}


async def test_a_forgotten_host_is_off_the_roster(client: httpx2.AsyncClient, store: MemoryStore) -> None:
    await store.put(keys.roster("vm-1"), b"{}")
    assert (await client.delete("/v1/hosts/vm-1")).status_code == 200
    assert await store.get(keys.roster("vm-1")) is None
    assert (await client.delete("/v1/hosts/vm-1")).json()["code"] == "not_found"


@pytest.mark.parametrize(
    "body",
    [{}, {"services": []}, {"services": ["Bad Name"]}, {"services": ["*"], "uses": 0}, {"services": ["*"], "x": 1}],
)
async def test_a_token_that_means_nothing_is_not_made(
    client: httpx2.AsyncClient, store: MemoryStore, body: dict[str, object]
) -> None:
    answer = await client.post("/v1/tokens", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert (await store.list(keys.PKI_TOKEN)).items == ()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"origin": "https://evil.example"}, 403, "cross_origin"),
        ({"host": "evil.example:7510"}, 421, "wrong_host"),
        ({"host": "evil.example"}, 421, "wrong_host"),
    ],
)
async def test_a_web_page_of_somebody_else_gets_nothing(
    client: httpx2.AsyncClient, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await client.get("/v1/policy", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("host", ["localhost:7510", "127.0.0.1:7510", "[::1]:7510", "10.0.0.4"])
async def test_its_own_names_are_answered(client: httpx2.AsyncClient, host: str) -> None:
    assert (await client.get("/healthz", headers={"host": host})).status_code == 200


async def test_with_the_store_away_documents_are_unavailable_and_status_still_answers(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    await store.close()
    answer = await client.get(PATH)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert (await client.get("/v1/status")).json()["etcd"]["available"] is False


async def test_every_route_is_in_the_openapi_document_and_no_other(client: httpx2.AsyncClient) -> None:
    schema = (await client.get("/v1/openapi.json")).json()
    assert schema["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, item in schema["paths"].items() for method in item}
    assert ("PUT", "/v1/policy/{namespace}/{kind}/{name}") in described
    for method, path in described:
        filled = path.format(namespace="default", kind="route", name="nobody", host="nobody")
        answer = await client.request(method, filled)
        assert answer.status_code != 405, (method, path)
    references = str(schema).count("$ref")
    assert references > 4
    assert (await client.get("/v1/nothing")).json()["code"] == "not_found"
