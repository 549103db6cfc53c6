"""When certificates are asked for again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxy.renewal import LONGEST_WAIT, renew_at, retry_at, retry_wait

NOW = datetime(2026, 1, 1, tzinfo=UTC)
jitters = st.floats(0, 1)
lives = st.timedeltas(timedelta(seconds=1), timedelta(days=3650))


@given(lives, jitters)
def test_renewal_falls_between_a_third_and_a_half_of_a_life(life: timedelta, jitter: float) -> None:
    moment = renew_at(NOW, NOW + life, jitter=jitter)
    tolerance = timedelta(microseconds=2)
    assert life / 3 - tolerance <= moment - NOW <= life / 2 + tolerance


@given(st.integers(1, 10_000), jitters)
def test_waits_grow_and_are_bounded(failures: int, jitter: float) -> None:
    wait = retry_wait(failures, jitter=jitter)
    assert timedelta(seconds=0.05) <= wait <= timedelta(seconds=LONGEST_WAIT)
    assert wait <= retry_wait(failures + 1, jitter=jitter)


@given(st.integers(1, 100), jitters, lives)
def test_a_certificate_that_is_about_to_end_is_asked_for_several_times_before_it_does(
    failures: int, jitter: float, left: timedelta
) -> None:
    moment = retry_at(failures, now=NOW, ends=NOW + left, jitter=jitter)
    assert NOW < moment <= NOW + max(left / 4, timedelta(seconds=0.1))


def test_where_nothing_ends_the_wait_is_the_plain_one() -> None:
    assert retry_at(3, now=NOW, ends=None, jitter=1.0) == NOW + retry_wait(3, jitter=1.0)
    assert retry_at(3, now=NOW, ends=NOW - timedelta(seconds=1), jitter=1.0) == NOW + retry_wait(3, jitter=1.0)
