"""What a host remembers of its own instances."""

from __future__ import annotations

from pathlib import Path

from proxy.registrations import NO_CERTIFICATE, Registrations
from registry.model import State
from registry.names import ServiceName
from registry.registration import Check, Registration, Upstream

API = ServiceName("shop", "api")
KEY = (API, "api-1")
CHECK = Check(kind="http", path="/healthz", interval=0.25, timeout=0.1, rise=1, fall=2)
ONE = Registration(
    API,
    "api-1",
    8080,
    labels={"version": "v2"},
    version="v2",
    check=CHECK,
    upstreams=(Upstream(ServiceName("a", "b")),),
)


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(path: Path, *, boot: str = "boot-1", clock: Clock | None = None) -> Registrations:
    return Registrations(path / "registrations.json", boot_id=boot, clock=clock or Clock())


def test_a_registration_is_made_once(tmp_path: Path) -> None:
    registrations = opened(tmp_path)
    assert registrations.put(ONE)
    assert not registrations.put(ONE)
    assert registrations.put(Registration(API, "api-1", 8081))


def test_a_restart_of_the_agent_keeps_what_was_found(tmp_path: Path) -> None:
    before = opened(tmp_path)
    before.put(ONE)
    before.certify(API)
    before.judged(KEY, State.UP, "")
    after = opened(tmp_path)
    assert after.all == before.all
    assert after.all[KEY].told == (State.UP, "")


def test_after_a_reboot_all_start_again(tmp_path: Path) -> None:
    before = opened(tmp_path)
    before.put(ONE)
    before.certify(API)
    before.judged(KEY, State.UP, "")
    after = opened(tmp_path, boot="boot-2")
    assert after.all[KEY].told[0] is State.STARTING
    assert after.all[KEY].registration == ONE


def test_a_service_new_to_its_host_stays_down_without_a_certificate(tmp_path: Path) -> None:
    registrations = opened(tmp_path)
    registrations.put(ONE)
    assert registrations.all[KEY].told[0] is State.STARTING
    registrations.judged(KEY, State.UP, "")
    assert registrations.all[KEY].told == (State.DOWN, NO_CERTIFICATE)
    assert registrations.certify(API)
    assert registrations.all[KEY].told == (State.UP, "")
    assert not registrations.certify(API)


def test_a_second_instance_shares_the_certificate_of_its_service(tmp_path: Path) -> None:
    registrations = opened(tmp_path)
    registrations.put(ONE)
    registrations.certify(API)
    registrations.put(Registration(API, "api-2", 8081))
    assert registrations.all[API, "api-2"].certified


def test_what_drains_says_so_whatever_its_checks_find_until_it_is_put_again(tmp_path: Path) -> None:
    registrations = opened(tmp_path)
    registrations.put(ONE)
    registrations.certify(API)
    registrations.judged(KEY, State.UP, "")
    assert registrations.drain(KEY)
    assert not registrations.drain(KEY)
    assert registrations.all[KEY].told[0] is State.DRAIN
    assert registrations.put(ONE)
    assert registrations.all[KEY].told[0] is State.UP


def test_another_port_starts_anew(tmp_path: Path) -> None:
    registrations = opened(tmp_path)
    registrations.put(ONE)
    registrations.judged(KEY, State.UP, "")
    registrations.put(Registration(API, "api-1", 9999))
    assert registrations.all[KEY].state is State.STARTING


def test_a_tombstone_is_owed_until_it_is_told_or_the_instance_is_back(tmp_path: Path) -> None:
    registrations = opened(tmp_path)
    registrations.put(ONE)
    assert registrations.remove(KEY)
    assert not registrations.remove(KEY)
    assert list(opened(tmp_path).tombstones) == [KEY]
    registrations.buried(KEY)
    assert not opened(tmp_path).tombstones
    registrations.put(ONE)
    registrations.remove(KEY)
    registrations.put(ONE)
    assert not opened(tmp_path).tombstones


def test_an_instance_that_never_passes_its_check_expires(tmp_path: Path) -> None:
    clock = Clock()
    registrations = opened(tmp_path, clock=clock)
    registrations.put(Registration(API, "api-1", 1, deregister_after=60))
    registrations.put(Registration(API, "api-2", 1, deregister_after=60))
    registrations.put(Registration(API, "api-3", 1, deregister_after=None))
    registrations.judged((API, "api-2"), State.UP, "")
    clock.now += 61
    assert registrations.expired() == [KEY]
