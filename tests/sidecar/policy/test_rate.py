"""What clients and sources may use: buckets by time, and a memory that a flood cannot wash out."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.rate import STREAMS_WAIT, Allowance, ClientBounds, source

TEN_A_MINUTE = ClientBounds(requests=10 / 60)
FAILURES = ClientBounds(failures=10 / 60)


def taken(allowance: Allowance, bounds: ClientBounds, now: float, who: str = "anna") -> int:
    """How many requests are allowed at one moment, of a thousand."""
    return sum(allowance.request(who, bounds, now) == 0 for _ in range(1000))


@pytest.mark.parametrize(
    ("rate", "at_once", "later", "then"),
    [
        (10 / 60, 10, 6.0, 1),
        (10 / 60, 10, 5.9, 0),
        (10 / 60, 10, 60.0, 10),
        (10 / 60, 10, 6000.0, 10),
        (2.0, 120, 1.0, 2),
        (1 / 3600, 1, 3599.0, 0),
        (1 / 3600, 1, 3600.0, 1),
    ],
)
def test_what_a_minute_allows_may_come_at_once(
    rate: float, at_once: int, later: float, then: int
) -> None:
    allowance, bounds = Allowance(), ClientBounds(requests=rate)
    assert taken(allowance, bounds, now=100.0) == at_once
    assert taken(allowance, bounds, now=100.0 + later) == then


def test_who_waits_as_long_as_told_is_let_in() -> None:
    allowance = Allowance()
    taken(allowance, TEN_A_MINUTE, now=100.0)
    wait = allowance.request("anna", TEN_A_MINUTE, 101.0)
    assert wait == pytest.approx(5.0)
    assert allowance.request("anna", TEN_A_MINUTE, 101.0 + wait) == 0


def test_each_has_its_own() -> None:
    allowance = Allowance()
    taken(allowance, TEN_A_MINUTE, now=100.0)
    assert taken(allowance, TEN_A_MINUTE, 100.0, who="ben") == 10


def test_no_bound_is_no_limit_and_keeps_nothing() -> None:
    allowance, none = Allowance(), ClientBounds()
    assert taken(allowance, none, now=1.0) == 1000
    allowance.received("anna", none, 10**12, 1.0)
    for _ in range(100):
        allowance.failed("anna", none, 1.0)
    assert allowance.attempt("anna", none, 1.0) == 0
    assert allowance.remembered == 0
    assert all(allowance.begin_stream("anna", none) == 0 for _ in range(100))


def test_new_settings_count_at_once() -> None:
    allowance = Allowance()
    assert taken(allowance, TEN_A_MINUTE, now=100.0) == 10
    assert taken(allowance, ClientBounds(requests=20 / 60), now=100.0) == 0
    assert taken(allowance, ClientBounds(requests=20 / 60), now=103.0) == 1


def test_bytes_that_were_too_many_are_waited_for() -> None:
    allowance, bounds = Allowance(), ClientBounds(bytes=100.0)
    assert allowance.request("anna", bounds, 0.0) == 0
    allowance.received("anna", bounds, 6000, 0.0)
    assert allowance.request("anna", bounds, 0.0) == 0
    allowance.received("anna", bounds, 500, 0.0)
    assert allowance.request("anna", bounds, 1.0) == pytest.approx(4.0)
    assert allowance.request("anna", bounds, 5.0) == 0


def test_a_request_that_waits_for_bytes_costs_none() -> None:
    allowance, bounds = Allowance(), ClientBounds(requests=10 / 60, bytes=100.0)
    allowance.received("anna", bounds, 6001, 0.0)
    assert taken(allowance, bounds, now=0.0) == 0
    assert taken(allowance, bounds, now=1.0) == 10


def test_streams_are_counted_at_once() -> None:
    allowance, two = Allowance(), ClientBounds(streams=2)
    assert [allowance.begin_stream("anna", two) for _ in range(3)] == [0, 0, STREAMS_WAIT]
    assert allowance.begin_stream("ben", two) == 0
    allowance.end_stream("anna")
    assert [allowance.begin_stream("anna", two) for _ in range(2)] == [0, STREAMS_WAIT]
    for who in ("anna", "anna", "ben"):
        allowance.end_stream(who)
    assert allowance.remembered == 0


def test_past_the_limit_of_failures_nothing_is_tried() -> None:
    allowance = Allowance()
    for _ in range(10):
        assert allowance.attempt("s", FAILURES, 50.0) == 0
        allowance.failed("s", FAILURES, 50.0)
    assert allowance.attempt("s", FAILURES, 50.0) == pytest.approx(6.0)
    assert allowance.attempt("s", FAILURES, 54.0) == pytest.approx(2.0)
    assert allowance.attempt("s", FAILURES, 56.0) == 0
    assert allowance.attempt("other", FAILURES, 50.0) == 0


def test_a_flood_of_sources_frees_no_offender_and_takes_no_more_room() -> None:
    allowance, bounds = Allowance(most=100), ClientBounds(requests=1.0, failures=10 / 60)
    for _ in range(10):
        allowance.failed("offender", bounds, 0.0)
    while allowance.request("greedy", bounds, 0.0) == 0:
        pass
    for number in range(10_000):
        allowance.request(f"s{number}", bounds, 1.0)
        allowance.failed(f"s{number}", bounds, 1.0)
        assert allowance.remembered <= 102
    assert allowance.attempt("offender", bounds, 1.0) > 0
    assert allowance.request("greedy", bounds, 0.5) > 0


def test_even_offenders_without_number_take_no_more_room() -> None:
    allowance = Allowance(most=100)
    for number in range(1000):
        for _ in range(10):
            allowance.failed(f"s{number}", FAILURES, 0.0)
    assert allowance.remembered == 100
    assert allowance.attempt("s999", FAILURES, 0.0) > 0


def test_what_is_full_again_is_forgotten() -> None:
    allowance = Allowance()
    for number in range(10):
        taken(allowance, TEN_A_MINUTE, 0.0, who=f"s{number}")
    for number in range(10):
        allowance.received(f"s{number}", ClientBounds(bytes=1.0), 0, 60.0)
    assert allowance.remembered == 0


@given(
    rate=st.floats(0.01, 100),
    pauses=st.lists(st.floats(0, 120), min_size=1, max_size=60),
)
def test_no_order_of_requests_gets_more_than_the_bound(rate: float, pauses: list[float]) -> None:
    allowance, bounds = Allowance(), ClientBounds(requests=rate)
    now, allowed, waits = 1000.0, 0, 0.0
    for pause in pauses:
        now += pause
        for _ in range(50):
            waits = allowance.request("anna", bounds, now)
            allowed += waits == 0
    assert allowed <= max(60 * rate, 1) + rate * (now - 1000.0) + 1e-3
    if waits:
        assert allowance.request("anna", bounds, now + waits + 1e-3) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("2001:db8::1%eth0", "2001:db8::2", True),
    ],
)
def test_ipv6_sources_are_networks(one: str, other: str, same: bool) -> None:
    assert (source(ip_address(one)) == source(ip_address(other))) is same
