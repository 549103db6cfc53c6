"""What is stored is read back, and what cannot be read is refused with its key."""

from __future__ import annotations

import pytest

from policy import records
from policy.records import (
    ControllerStatus,
    DocumentStatus,
    InvalidRecord,
    LastGood,
    LogEntry,
    Pending,
    Problem,
    Record,
    RolloutStatus,
)

RECORDS: list[Record] = [
    DocumentStatus("rejected", 7, "last-good", errors=(Problem(1, 2, "spec", "WEFT0201", "no"),), applies_to=("a/b",)),
    ControllerStatus("ctl-1", 5, 6, {"documents": 3}, "boom", 12.5),
    RolloutStatus(5, 3, 2, behind=("a",)),
    Pending({"policy/a/route/b": "00"}),
    LogEntry("text", 1.0, gap=True),
    LogEntry(None, 1.0),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_survives_being_stored(record: Record) -> None:
    value = records.encode(record)
    assert records.decode(type(record), "key", value) == record
    assert records.encode(records.decode(type(record), "key", value)) == value


def test_a_newer_writer_may_add_fields() -> None:
    assert records.decode(LogEntry, "key", b'{"document":"x","at":1,"who":"somebody"}') == LogEntry("x", 1.0)


@pytest.mark.parametrize("value", [b"", b"[]", b'{"document":1,"at":1}', b'{"document":"x"}'])
def test_a_value_that_is_no_record_is_refused_with_its_key(value: bytes) -> None:
    with pytest.raises(InvalidRecord, match=r"^log/x: "):
        records.decode(LogEntry, "log/x", value)


def test_last_good_bytes_stay_a_document_and_keep_their_revision() -> None:
    value = LastGood(12, b"# mine\nkind: Route\n").encode()
    assert value == b"# weft: accepted at revision 12\n# mine\nkind: Route\n"
    assert LastGood.decode("key", value) == LastGood(12, b"# mine\nkind: Route\n")


@pytest.mark.parametrize(
    "value", [b"", b"kind: Route\n", b"# weft: accepted at revision x\n", b"# weft: accepted at revision 1"]
)
def test_bytes_without_their_revision_are_no_last_good_version(value: bytes) -> None:
    with pytest.raises(InvalidRecord, match=r"^lastgood/x: "):
        LastGood.decode("lastgood/x", value)
