"""`weft tap` without an engine: what its words mean, and how a request looks in a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.cli.app import run
from ops.cli.codes import CODES, Fault
from ops.cli.tap import engines, named, row
from ops.dev.layout import ENGINE_SOCKET


@pytest.mark.parametrize(
    ("what", "meant"),
    [
        (None, ((), (), "")),
        ("service/api", (("shop/api",), (), "")),
        ("services/other/api", (("other/api",), (), "")),
        ("route/api-split", ((), ("shop/api-split",), "")),
        ("gateway/edge", ((), (), "gateway")),
    ],
)
def test_a_type_and_a_name_say_what_is_tapped(what: str | None, meant: tuple[object, ...]) -> None:
    assert named(what, "shop") == meant


@pytest.mark.parametrize("what", ["pod/x", "service", "service/", "instances/api-1"])
def test_what_cannot_be_tapped_is_a_usage_error(what: str) -> None:
    with pytest.raises(Fault) as raised:
        named(what, "shop")
    assert CODES[raised.value.code].exit == 2


def test_a_failed_request_shows_each_try_below_it() -> None:
    record = {
        "time": "2026-11-29T15:00:00.123Z",
        "direction": "outbound",
        "source": "shop/web",
        "destination": "shop/api",
        "code": 503,
        "reason": "connect_failed",
        "method": "GET",
        "path": "/a",
        "duration_ms": 12.5,
        "tries": 2,
        "detail": "api-1 at 127.0.0.1:1: refused",
        "failed": [{"instance": "api-2", "reason": "reset", "detail": "it broke"}],
    }
    first, failed, detail = row(record).splitlines()
    assert first.startswith("15:00:00.123  outbound")
    assert first.endswith("GET /a")
    assert "connect_failed" in first
    assert failed.strip() == "failed: api-2 reset: it broke"
    assert detail.strip() == "api-1 at 127.0.0.1:1: refused"


def test_without_an_engine_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ENGINE_SOCKET).parent.mkdir(parents=True)
    with pytest.raises(Fault):
        engines((), tmp_path)
    assert run(["tap", "--state", str(tmp_path)]) == CODES["no_mesh"].exit
    said = capsys.readouterr().err
    assert "--engine" in said
    assert said.count("\n") == 1


def test_a_connection_is_shown_with_how_it_stands_and_what_it_moved() -> None:
    told = {"direction": "gateway", "host": "db.example.com", "end": "idle", "sent": 4, "received": 10}
    assert row(told).endswith("tcp db.example.com idle, 4 bytes there, 10 back")
    assert row({"method": "GET", "path": "/ws", "end": "open"}).endswith("GET /ws open")
