"""One root after another: who has to say what before the next step is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.pki import authority, rotation, trust
from registry.pki.authority import HOST_LIFE
from registry.pki.certificates import now_utc
from registry.pki.errors import IdentityRefusedError
from registry.pki.rotation import HostTrust
from registry.pki.slots import Slots
from registry.pki.trust import TrustBundle


@pytest.fixture
def roots(tmp_path: Path) -> tuple[str, str]:
    """Two roots of one mesh, as PEM."""
    made = [authority.create(tmp_path / name, trust_domain="corp", now=now_utc()) for name in ("a", "b")]
    return made[0].root_pem, made[1].root_pem


def said(trusts: tuple[str, ...], under: tuple[str, ...]) -> HostTrust:
    return HostTrust(frozenset(map(rotation.print_of, trusts)), frozenset(map(rotation.print_of, under)))


def states(bundle: TrustBundle) -> list[str]:
    return [bundle.mark(root).state for root in bundle.roots["corp"]]


def test_a_root_replaces_another_when_every_host_is_ready(roots: tuple[str, str]) -> None:
    old, new = roots
    bundle = rotation.begin(TrustBundle({"corp": (old,)}), "corp", new, now=100.0)
    assert states(bundle) == ["active", "next"]
    assert bundle.of("corp") == (old, new), "both are trusted"
    knows, has_not = said((old, new), (old,)), said((old,), (old,))

    def step(bundle: TrustBundle, can_sign: tuple[str, ...] = (old, new), **hosts: HostTrust) -> rotation.Step:
        return rotation.step(bundle, "corp", roster={"h1", "h2"}, hosts=hosts, can_sign=can_sign, now=200.0)

    assert step(bundle, h1=knows).waits_for.keys() == {"h2"}, "who says nothing is waited for"
    assert step(bundle, h1=knows, h2=has_not).to is None
    assert step(bundle, (old,), h1=knows, h2=knows).waits_for.keys() == {"the leading controller"}
    bundle = step(bundle, h1=knows, h2=knows).to or bundle
    assert states(bundle) == ["old", "active"]
    assert bundle.of("corp") == (new, old), "what is signed with comes first"
    moved = said((old, new), (new,))
    assert step(bundle, h1=moved, h2=said((old, new), (old, new))).waits_for.keys() == {"h2"}
    assert step(bundle, h1=moved).to is None
    bundle = step(bundle, h1=moved, h2=moved).to or bundle
    assert bundle.roots == {"corp": (new,)}
    assert step(bundle).doing == "none"


def test_what_stands_in_the_store_is_all_that_the_next_leader_needs(roots: tuple[str, str]) -> None:
    bundle = rotation.begin(TrustBundle({"corp": (roots[0],)}), "corp", roots[1], now=100.5)
    assert trust.decode(trust.encode(bundle)) == bundle


def test_saying_it_again_changes_nothing_and_another_root_has_to_wait(roots: tuple[str, str], tmp_path: Path) -> None:
    bundle = rotation.begin(TrustBundle({"corp": (roots[0],)}), "corp", roots[1], now=1.0)
    assert rotation.begin(bundle, "corp", roots[1], now=2.0) == bundle
    third = authority.create(tmp_path / "c", trust_domain="corp", now=now_utc())
    with pytest.raises(IdentityRefusedError) as refused:
        rotation.begin(bundle, "corp", third.root_pem, now=2.0)
    assert refused.value.code == "rotation_under_way"


def test_a_root_that_is_to_come_can_be_taken_back_and_no_other(roots: tuple[str, str]) -> None:
    alone = TrustBundle({"corp": (roots[0],)})
    assert rotation.abort(rotation.begin(alone, "corp", roots[1], now=1.0), "corp") == alone
    with pytest.raises(IdentityRefusedError) as refused:
        rotation.abort(alone, "corp")
    assert refused.value.code == "no_rotation"


def test_a_root_of_another_mesh_is_refused(roots: tuple[str, str], tmp_path: Path) -> None:
    other = authority.create(tmp_path / "other", trust_domain="elsewhere", now=now_utc())
    with pytest.raises(IdentityRefusedError):
        rotation.begin(TrustBundle({"corp": (roots[0],)}), "corp", other.root_pem, now=1.0)


def test_certificates_that_have_ended_hold_nothing_up(roots: tuple[str, str]) -> None:
    old, new = roots
    marks = {old: trust.Mark(trust.OLD, 100.0), new: trust.Mark(trust.ACTIVE, 100.0)}
    bundle = TrustBundle({"corp": roots}, marks)
    late = 101.0 + HOST_LIFE.total_seconds()
    for now, done in ((200.0, False), (late, True)):
        step = rotation.step(bundle, "corp", roster={"silent"}, hosts={}, can_sign=roots, now=now)
        assert (step.to is not None) == done


def test_a_controller_signs_under_the_root_that_is_active(tmp_path: Path) -> None:
    first = authority.create(tmp_path / "first", trust_domain="corp", now=now_utc())
    second = authority.create(tmp_path / "second", trust_domain="corp", now=now_utc())
    authority.add_intermediate(tmp_path / "second", tmp_path / "first" / "2", name="ctl", now=now_utc())
    (tmp_path / "first" / "broken").mkdir()
    (tmp_path / "first" / "broken" / "intermediate.pem").write_text("rubbish")
    slots = Slots(tmp_path / "first")
    assert slots.signing(()).root_pem == first.root_pem
    assert slots.signing((second.root_pem,)).root_pem == second.root_pem
    with pytest.raises(IdentityRefusedError) as refused:
        slots.signing(("another",))
    assert refused.value.code == "not_signing"
