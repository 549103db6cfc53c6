"""The agent as a process: it starts, it stops when it is asked to, and what it left stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from proxy.ports import PortClaims
from registry import keys, layout
from registry.etcd import EtcdConfig, EtcdStore
from tests.proxy.world import answers, until
from tests.support.identity import MESH

pytestmark = pytest.mark.anyio

MAIN = "import sys; from pathlib import Path; from proxy.agent import main; main(Path(sys.argv[1]))"


@contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", MAIN, str(config)], stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_is_quick_and_leaves_the_hosts_keys(
    tmp_path: Path, etcd_config: EtcdConfig, number: signal.Signals
) -> None:
    store = await EtcdStore.connect(etcd_config)
    await store.put(keys.META_LAYOUT, layout.encode(MESH))
    config = tmp_path / "agent.toml"
    socket = tmp_path / "agent.sock"
    with PortClaims() as claims:
        listen = f"127.0.0.1:{claims.claim()}"
        config.write_text(
            f'host = "vm-1"\nadvertise = "127.0.0.1"\nstate_dir = "{tmp_path / "state"}"\n'
            f'[engine]\nsocket = "{tmp_path / "none.sock"}"\n[api]\nlisten = "{listen}"\nsocket = "{socket}"\n'
            f'[etcd]\nendpoints = ["{etcd_config.endpoints[0]}"]\nroot = "{etcd_config.root}"\n'
        )
        with running(config) as process:
            async with httpx2.AsyncClient(base_url=f"http://{listen}", trust_env=False) as http:
                await until(lambda: answers(http))
                answer = await http.put("/v1/services/api/instances/api-1", json={"port": 8080})
                assert answer.json()["stored"] == "etcd"
                watching = http.stream("GET", "/v1/services?watch=1")
                async with watching as stream:
                    assert await anext(stream.aiter_lines())
                    process.send_signal(number)
                    assert process.wait(timeout=5) == 0
        assert socket.exists()
        assert await store.get("registry/default/api/api-1") is not None
        assert await store.get(keys.host("vm-1")) is not None
        transport = httpx2.AsyncHTTPTransport(uds=str(socket))
        with running(config):
            async with httpx2.AsyncClient(transport=transport, base_url="http://agent", trust_env=False) as http:
                await until(lambda: answers(http))
                assert (await http.get("/v1/services/api/instances/api-1")).status_code == 200
    await store.close()
