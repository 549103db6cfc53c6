"""A host and its controllers, over real TLS on loopback."""

from __future__ import annotations

import asyncio
import gc
import stat
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from ops.api.hosts import hosts_app
from ops.api.server import bind, serving
from ops.host_port import server_context
from proxy.identity import Change, Forgotten, Identities, Identity, Trust
from registry import keys
from registry.names import SpiffeId
from registry.pki import roster
from registry.pki.authority import add_intermediate, create
from registry.pki.certificates import new_key, now_utc
from registry.pki.requests import make_csr, parse_csr
from registry.pki.tokens import Token
from tests.support.identity import (
    TRUST_DOMAIN,
    Controller,
    answering,
    make_controller,
    service,
    urls,
    write_token,
)

pytestmark = pytest.mark.anyio

API = service("api")
WEB = service("web")


@asynccontextmanager
async def running(identities: Identities) -> AsyncIterator[Identities]:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(identities.run())
        yield identities
        task.cancel()
    # anyio lets go of a connection, unclosed, that is there at the very moment at which its request is cancelled.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


async def until(identities: Identities, satisfied: Callable[[Change], bool]) -> Change:
    """The first change that satisfies."""
    async for change in identities.changes():
        if satisfied(change):
            return change
    raise AssertionError("changes ended")


async def identity_of(identities: Identities, wanted: SpiffeId, *, other_than: str = "") -> Identity:
    found = await until(
        identities, lambda change: isinstance(change, Identity) and change.id == wanted and change.serial != other_than
    )
    assert isinstance(found, Identity)
    return found


async def problem_of(identities: Identities, wanted: SpiffeId, word: str) -> str:
    while word not in identities.problems.get(wanted, ""):  # noqa: ASYNC110 - a problem is a state, not an event
        await asyncio.sleep(0.01)
    return identities.problems[wanted]


async def host(
    directory: Path, controller: Controller, *services: str, name: str = "vm-1", token: Token | None = None
) -> Identities:
    given = token or await controller.token(*services)
    return Identities(
        state_dir=directory, host=name, controllers=urls(controller), token_file=write_token(directory, given)
    )


async def test_a_host_joins_with_a_token_and_gets_the_identities_it_may_have(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            found = await identity_of(identities, API)
        assert len(found.chain) == 2
        assert identities.problems == {}
        entry = await controller.store.get(keys.roster("vm-1"))
        assert entry is not None
        assert roster.decode(entry.value).services == ("*",)


async def test_trust_is_told_before_identities(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            first = await until(identities, lambda change: True)
        assert isinstance(first, Trust)
        assert set(first.bundles) == {TRUST_DOMAIN}


async def test_a_service_that_the_roster_does_not_allow_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        identities = await host(tmp_path / "vm", controller, "default/web")
        identities.want(frozenset({API, WEB}))
        async with running(identities):
            await identity_of(identities, WEB)
            problem = await problem_of(identities, API, "identity_not_allowed")
        assert "default/web" in problem
        assert set(identities.problems) == {API}


async def test_a_host_with_the_token_of_another_mesh_says_nothing_secret(tmp_path: Path) -> None:
    other = make_controller(tmp_path / "other-ca")
    async with answering(make_controller(tmp_path / "ca")) as controller:
        identities = await host(tmp_path / "vm", controller, token=await other.token("*"))
        identities.want(frozenset({API}))
        async with running(identities):
            problem = await problem_of(identities, API, "token was made for")
        assert "vm-1" in problem
        assert (await controller.store.list(keys.ROSTER)).items == ()


async def test_a_controller_that_is_no_controller_is_not_believed(tmp_path: Path) -> None:
    """A host's certificate is of the same CA; posing as a controller with it fails in the handshake."""
    controller = make_controller(tmp_path / "ca")
    key = new_key()
    posing = parse_csr(make_csr(key, SpiffeId.of_host(TRUST_DOMAIN, "vm-9")))
    issued = controller.authority.sign(posing.public, posing.identity, now=now_utc(), life=timedelta(hours=1))
    tls = server_context(roots=controller.issuer.roots, chain_pem=issued.chain_pem, key=key)
    async with serving(hosts_app(controller.issuer), bind("127.0.0.1:0"), tls=tls) as port:
        controller.port = port
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            await problem_of(identities, API, "not a controller")
        assert (await controller.store.list(keys.ROSTER)).items == ()


async def test_a_spent_token_does_not_let_a_second_host_in(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        token = await controller.token("*")
        first = await host(tmp_path / "first", controller, token=token)
        second = await host(tmp_path / "second", controller, token=token, name="vm-2")
        for identities in (first, second):
            identities.want(frozenset({API}))
        async with running(first):
            await identity_of(first, API)
        async with running(second):
            await problem_of(second, API, "token_spent")
        assert await controller.store.get(keys.roster("vm-2")) is None


async def test_a_host_removed_from_the_roster_gets_no_more_certificates(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            await identity_of(identities, API)
            await controller.store.delete(keys.roster("vm-1"))
            (tmp_path / "vm" / "join-token").unlink()
            identities.want(frozenset({API, WEB}))
            await problem_of(identities, WEB, "host_unknown")


async def test_leaves_of_a_few_seconds_are_renewed_before_they_end(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca", leaf=timedelta(seconds=3))) as controller:
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            first = await identity_of(identities, API)
            second = await identity_of(identities, API, other_than=first.serial)
            assert now_utc() < first.not_after
            assert second.not_after > first.not_after
            assert second.key != first.key


async def test_a_restart_serves_from_disk_with_no_controller_alive(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            before = await identity_of(identities, API)
    again = Identities(state_dir=tmp_path / "vm", host="vm-1", controllers=urls(controller), token_file=None)
    again.want(frozenset({API}))
    assert await identity_of(again, API) == before
    assert again.problems == {}
    assert again.mesh is not None
    assert again.mesh.trust_domain == TRUST_DOMAIN


async def test_what_is_no_longer_wanted_is_forgotten_on_disk_too(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            changes = identities.changes()
            async for change in changes:
                if isinstance(change, Identity):
                    identities.want(frozenset({WEB}))
                elif change == Forgotten(API):
                    break
            await identity_of(identities, WEB)
    assert [path.name for path in (tmp_path / "vm" / "identity" / "held").iterdir()] == ["web.default.pem"]


async def test_private_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            await identity_of(identities, API)
    files = [path for path in (tmp_path / "vm" / "identity").rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "vm" / "identity" / "held").stat().st_mode) == 0o700


async def test_a_second_controller_signs_when_the_first_is_dead(tmp_path: Path) -> None:
    root = create(tmp_path / "ca", trust_domain=TRUST_DOMAIN, now=now_utc())
    first = make_controller(tmp_path, authority=root)
    other = add_intermediate(tmp_path / "ca", tmp_path / "ca-2", name="intermediate 2", now=now_utc())
    second = make_controller(tmp_path, authority=other, store=first.store)
    token = await first.token("*")
    async with answering(second):
        async with answering(first):
            identities = Identities(
                state_dir=tmp_path / "vm",
                host="vm-1",
                controllers=urls(first, second),
                token_file=write_token(tmp_path / "vm", token),
            )
            identities.want(frozenset({API}))
            async with running(identities):
                await identity_of(identities, API)
        identities = Identities(
            state_dir=tmp_path / "vm", host="vm-1", controllers=urls(first, second), token_file=None
        )
        identities.want(frozenset({API, WEB}))
        async with running(identities):
            await identity_of(identities, WEB)


async def test_a_host_started_before_its_token_waits_and_says_for_what(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        missing = tmp_path / "vm" / "join-token"
        identities = Identities(
            state_dir=tmp_path / "vm", host="vm-1", controllers=urls(controller), token_file=missing
        )
        identities.want(frozenset({API}))
        async with running(identities):
            problem = await problem_of(identities, API, "no join token")
            assert str(missing) in problem
            write_token(tmp_path / "vm", await controller.token("*"))
            await identity_of(identities, API)


async def test_a_host_put_off_the_roster_comes_back_with_a_new_token(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca")) as controller:
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            await identity_of(identities, API)
            await controller.store.delete(keys.roster("vm-1"))
            write_token(tmp_path / "vm", await controller.token("default/web"))
            identities.want(frozenset({API, WEB}))
            await identity_of(identities, WEB)
        entry = await controller.store.get(keys.roster("vm-1"))
        assert entry is not None
        assert roster.decode(entry.value).services == ("default/web",)


async def test_a_dead_controller_costs_nothing_while_certificates_last(tmp_path: Path) -> None:
    async with answering(make_controller(tmp_path / "ca", leaf=timedelta(seconds=5))) as controller:
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            first = await identity_of(identities, API)
            port = controller.port
    async with running(identities):
        while now_utc() < first.not_after - timedelta(seconds=2.5):
            assert identities.problems == {}
            await asyncio.sleep(0.1)
        async with answering(controller, port=port):
            second = await identity_of(identities, API, other_than=first.serial)
        assert now_utc() < first.not_after
    assert second.not_after > first.not_after


async def test_something_else_on_the_controllers_port_is_named(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        controller = make_controller(tmp_path / "ca")
        controller.port = server.sockets[0].getsockname()[1]
        identities = await host(tmp_path / "vm", controller, "*")
        identities.want(frozenset({API}))
        async with running(identities):
            await problem_of(identities, API, controller.url)
