"""What listings say of documents."""

from __future__ import annotations

from ops.cli import rows
from policy.apply import Found
from policy.records import DocumentStatus, Problem
from registry.keys import DocumentKey
from registry.store import Revision
from tests.policy.writing import text

FAULT = text("Fault", '{service: api, abort: 503, until: "2027-01-15T19:00:00+01:00"}')


def found(document: bytes, *notes: Problem) -> Found:
    status = DocumentStatus(state="accepted", revision=7, in_force="current", notes=notes)
    return Found(
        DocumentKey("shop", "fault", "chaos"), document, created=Revision(7), modified=Revision(7), status=status
    )


def test_a_fault_says_when_it_ends_and_then_that_it_has_ended() -> None:
    (row,) = rows.documents([found(FAULT)])
    assert (row["name"], row["says"]) == ("fault/chaos", "until 2027-01-15T18:00:00Z")
    (row,) = rows.documents([found(FAULT, Problem(1, 1, "spec.until", "WEFT0311", "it ended"))])
    assert row["says"] == "it ended [WEFT0311]"


def test_a_fault_that_cannot_be_read_says_nothing_of_its_end() -> None:
    (row,) = rows.documents([found(b"kind: [")])
    assert row["says"] == ""
