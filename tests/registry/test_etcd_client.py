"""What the etcd client does when etcd is frozen, gone, guarded by TLS or by passwords, or too old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from registry.etcd import EtcdConfig, EtcdStore, kv
from registry.etcd.config import InvalidEtcdConfig
from registry.etcd.version import UnsupportedStoreError, Version, check
from registry.store import PermissionDeniedError, Put, Revision, StoreUnavailableError
from tests.support.etcd import EtcdProcess, etcd_cluster
from tests.support.etcd_tls import make_tls

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(config: EtcdConfig) -> AsyncIterator[EtcdStore]:
    store = await EtcdStore.connect(config)
    try:
        yield store
    finally:
        await store.close()


async def test_a_frozen_member_costs_seconds_and_no_call(tmp_path: Path) -> None:
    with etcd_cluster(tmp_path, members=3) as members:
        async with connected(EtcdConfig([member.url for member in members])) as store:
            start = await store.put("a/1", b"")
            async with store.watch("a/", "b/", start=Revision(start + 1)) as batches:
                members[0].freeze()
                began = time.monotonic()
                revision = await store.put("a/2", b"")
                async with asyncio.timeout(20):
                    while not (batch := await anext(batches)).events:
                        pass
                members[0].thaw()
    assert batch.revision == revision
    assert time.monotonic() - began < 10


async def test_a_watch_resumes_where_a_killed_etcd_left_it(tmp_path: Path) -> None:
    with etcd_cluster(tmp_path) as [etcd]:
        async with connected(EtcdConfig([etcd.url])) as store:
            start = await store.put("a", b"0")
            async with store.watch("a", "b", start=start) as batches:
                assert (await anext(batches)).revision == start
                etcd.kill()
                with pytest.raises(StoreUnavailableError, match=str(etcd.client_port)):
                    await store.put("a", b"1")
                await asyncio.to_thread(etcd.restart)
                done = await store.transact([], [Put("a", b"2"), Put("b", b"2")])
                async with asyncio.timeout(20):
                    while not (batch := await anext(batches)).events:
                        pass
    assert (batch.revision, len(batch.events)) == (done.revision, 2)


async def test_a_large_revision_arrives_whole_though_fragmented(etcd_config: EtcdConfig) -> None:
    async with connected(etcd_config) as store:
        start = await store.put("b", b"")
        for half in ("a/1", "a/2", "a/3"):
            await store.transact([], [Put(f"{half}{number}", b"x" * 9_000) for number in range(100)])
        async with store.watch("a/", "b", start=Revision(start + 1)) as batches:
            revision = await store.delete("a/", prefix=True)
            sizes: list[tuple[int, int]] = []
            while not sizes or sizes[-1][0] < revision:
                batch = await anext(batches)
                sizes.append((batch.revision, len(batch.events)))
    assert [size for _, size in sizes if size] == [100, 100, 100, 300]


async def test_a_list_of_many_pages_is_of_one_revision(
    etcd_config: EtcdConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kv, "PAGE", 7)
    async with connected(etcd_config) as store:
        for chunk in range(3):
            await store.transact([], [Put(f"a/{chunk}{number:02d}", b"") for number in range(50)])
        writing = asyncio.create_task(store.put("a/999", b""))
        listing = await store.list("a/", "b/")
        await writing
    assert len(listing.items) in (150, 151)
    assert all(item.mod_revision <= listing.revision for item in listing.items)


async def test_tls_with_client_certificates_carries_calls_leases_and_watches(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    with etcd_cluster(tmp_path / "etcd", tls=tls) as [etcd]:
        config = EtcdConfig([etcd.url], "/m/", tls.ca, tls.client_certificate, tls.client_key)
        async with connected(config) as store, asyncio.timeout(20):
            revision = await store.put("a", b"1")
            async with store.watch("a", "b", start=revision) as batches:
                assert (await anext(batches)).revision == revision
        other = tmp_path / "other"
        other.mkdir()
        stranger = make_tls(other)
        config = EtcdConfig([etcd.url], "/m/", stranger.ca, tls.client_certificate, tls.client_key)
        async with connected(config) as store:
            with pytest.raises(StoreUnavailableError):
                await store.get("a")


async def test_a_password_is_used_once_and_again_when_its_token_is_gone(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    with etcd_cluster(tmp_path / "etcd") as [etcd]:
        set_up_auth(etcd)
        config = EtcdConfig([etcd.url], "/m/", username="weft", password_file=password)
        async with connected(config) as store, asyncio.timeout(30):
            revision = await store.put("mine/a", b"1")
            async with store.watch("mine/", "mine2/", start=revision) as batches:
                assert (await anext(batches)).revision == revision
                await asyncio.to_thread(etcd.restart)  # its simple tokens are kept in memory and die with it
                again = await store.put("mine/a", b"2")
                while not (batch := await anext(batches)).events:
                    pass
            assert batch.revision == again
            with pytest.raises(PermissionDeniedError, match="roles"):
                await store.put("other/a", b"")
            with pytest.raises(PermissionDeniedError):
                async with store.watch("other/", start=revision) as batches:
                    await anext(batches)
        password.write_text("wrong")
        async with connected(config) as store:
            with pytest.raises(PermissionDeniedError, match="password"):
                await store.get("mine/a")


def set_up_auth(etcd: EtcdProcess) -> None:
    """A user `weft` that may do everything below /m/mine."""
    etcd.ctl("user", "add", "root:root")
    etcd.ctl("user", "grant-role", "root", "root")
    etcd.ctl("role", "add", "weft")
    etcd.ctl("role", "grant-permission", "weft", "--prefix=true", "readwrite", "/m/mine")
    etcd.ctl("user", "add", "weft:secret")
    etcd.ctl("user", "grant-role", "weft", "weft")
    etcd.ctl("auth", "enable")


async def test_an_etcd_is_described_for_people(etcd_config: EtcdConfig) -> None:
    async with connected(EtcdConfig([*etcd_config.endpoints, "http://127.0.0.1:1"])) as store:
        await store.get("a")
        assert (await store.describe()).endswith(", 1/2 endpoints")
        assert (await store.describe()).startswith("etcd 3.")


@pytest.mark.parametrize("text", ["3.5.0", "3.5.5", "3.3.27", "2.3.8"])
def test_an_etcd_that_loses_writes_or_lacks_what_we_need_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedStoreError, match=text):
        check(Version.parse(text), endpoint="http://e")


@pytest.mark.parametrize("text", ["3.4.23", "3.5.6", "3.5.33", "3.6.16", "3.7.1", "3.7.0-rc.1"])
def test_other_versions_are_used(text: str) -> None:
    check(Version.parse(text), endpoint="http://e")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"endpoints": ()}, "at least one"),
        ({"endpoints": ("127.0.0.1:2379",)}, "http://host:port"),
        ({"endpoints": ("http://e:1",), "root": "/weft"}, "end with"),
        ({"endpoints": ("https://e:1",), "cert_file": "c"}, "belong together"),
        ({"endpoints": ("http://e:1",), "username": "u"}, "password_file"),
        ({"endpoints": ("https://e:1",), "ca_file": "/no/such/ca.pem"}, "etcd.ca_file"),
    ],
)
async def test_a_configuration_that_cannot_work_says_which_setting(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidEtcdConfig, match=message):
        await EtcdStore.connect(EtcdConfig(**wrong))  # type: ignore[arg-type]
