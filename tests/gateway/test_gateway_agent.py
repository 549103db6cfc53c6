"""A gateway's agent with a real engine: public ports, public certificates, and no services."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gateway.agent import role
from policy.compiled import CertificateFiles, Gateway, GatewayListener, Respond, Route
from proxy.ports import PortClaims
from registry.etcd import EtcdConfig
from tests.gateway.files import issue
from tests.proxy.world import World, open_world, until
from tests.support.engine import running_engine

pytestmark = pytest.mark.anyio


@dataclass
class Edge:
    """A gateway `edge` with one public port for each protocol."""

    world: World
    http: int
    https: int

    def gateway(self, files: CertificateFiles) -> Gateway:
        hello = Route("hello/all", 0, Respond(200, "hello"), hosts=("shop.example.com",))
        return Gateway(
            listeners={
                "http": GatewayListener(self.http, "http", redirect_to="https"),
                "https": GatewayListener(self.https, "https", certificates=(files,)),
            },
            routes=(hello,),
        )

    async def ask(self, ca: Path) -> int | str:
        """The status of a request for shop.example.com over TLS, or why there is none."""
        context = ssl.create_default_context(cafile=ca)
        async with httpx2.AsyncClient(verify=context, trust_env=False) as http:
            try:
                url = f"https://127.0.0.1:{self.https}/"
                fields = {"host": "shop.example.com"}
                answer = await http.get(url, headers=fields, extensions={"sni_hostname": "shop.example.com"})
            except httpx2.TransportError as error:
                return str(error)
            return answer.status_code


@pytest.fixture
async def edge(tmp_path: Path, etcd_config: EtcdConfig) -> AsyncIterator[Edge]:
    with PortClaims() as claims, running_engine(tmp_path / "e", claims) as engine:
        http, https = claims.claim(), claims.claim()
        async with open_world(
            tmp_path, etcd_config, engine.socket, more='[gateway]\nname = "edge"', role=role
        ) as world:
            yield Edge(world, http, https)


async def test_a_gateway_answers_with_the_certificate_its_document_names_and_with_the_next(
    edge: Edge, tmp_path: Path
) -> None:
    files = issue(tmp_path, "shop")
    ca = Path(files.cert_file)
    await edge.world.publish(5, edge.gateway(files))

    async def answers() -> bool:
        return await edge.ask(ca) == 200

    await until(answers)
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{edge.http}/x", headers={"host": "shop.example.com"})
        assert answer.status_code in (301, 302, 307, 308)
        assert answer.headers["location"] == f"https://shop.example.com:{edge.https}/x"
    issue(tmp_path, "shop")
    await until(answers)

    async def acked() -> bool:
        ack = await edge.world.acked()
        return ack is not None and ack.policy == 5 and any("/gateway/edge" in id_ for id_ in ack.certificates)

    await until(acked)


async def test_a_gateways_host_registers_no_services(edge: Edge) -> None:
    async with edge.world.http() as http:
        answer = await http.put("/v1/services/api/instances/api-1", json={"port": 8080})
        assert (answer.status_code, answer.json()["code"]) == (409, "gateway_host")
        assert (await http.get("/v1/status")).json()["gateway"] == "edge"
