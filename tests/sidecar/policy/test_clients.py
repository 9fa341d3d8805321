"""Which key a request brings: where it may stand, whose it is, and what that costs."""

import time

import pytest

from sidecar.policy.clients import ClientKey, KeyRefusal, digest, whose

ANNA, BEN = "sk-sidecar-anna", "sk-sidecar-ben"
KEYS = (ClientKey("anna", digest(ANNA)), ClientKey("ben", digest(BEN)))

NO, BAD = KeyRefusal.NO_KEY, KeyRefusal.BAD_KEY


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("Authorization", f"Bearer {ANNA}")], "anna"),
        ([("authorization", f"bearer   {BEN} ")], "ben"),
        ([("X-Api-Key", BEN)], "ben"),
        ([("x-api-key", ANNA), ("Authorization", f"Bearer {ANNA}")], "anna"),
        ([("x-api-key", ANNA), ("x-api-key", ANNA)], "anna"),
        ([("x-api-key", ""), ("Authorization", f"Bearer {ANNA}")], "anna"),
        ([], NO),
        ([("api-key", ANNA)], NO),
        ([("x-goog-api-key", ANNA)], NO),
        ([("Cookie", ANNA)], NO),
        ([("Authorization", "Bearer")], NO),
        ([("Authorization", "")], NO),
        ([("x-api-key", "  ")], NO),
        ([("x-api-key", "sk-sidecar-ann")], BAD),
        ([("x-api-key", f"{ANNA}x")], BAD),
        ([("x-api-key", ANNA.upper())], BAD),
        ([("x-api-key", f"{ANNA}, {BEN}")], BAD),
        ([("x-api-key", digest(ANNA).hex())], BAD),
        ([("x-api-key", "\udcff\ud800")], BAD),
        ([("Authorization", ANNA)], BAD),
        ([("Authorization", f"Basic {ANNA}")], BAD),
        ([("x-api-key", ANNA), ("Authorization", f"Bearer {BEN}")], BAD),
        ([("x-api-key", ANNA), ("Authorization", "Bearer other")], BAD),
        ([("x-api-key", ANNA), ("Authorization", "Basic YTpi")], BAD),
        ([("x-api-key", ANNA), ("x-api-key", BEN)], BAD),
    ],
)
def test_a_request_is_whose_key_it_brings(
    headers: list[tuple[str, str]], expected: str | KeyRefusal
) -> None:
    assert whose(headers, KEYS) == expected


def test_without_keys_nobody_comes_in() -> None:
    assert whose([("x-api-key", ANNA)], ()) is BAD
    assert whose([], ()) is NO


@pytest.mark.parametrize(("count", "most"), [(100, 0.001), (10_000, 0.1)])
def test_many_keys_do_not_make_it_slow(count: int, most: float) -> None:
    keys = [ClientKey(f"c{number}", digest(f"key {number}")) for number in range(count)]
    headers = [("x-api-key", "key 0")]
    took = []
    for _ in range(20):
        began = time.perf_counter()
        assert whose(headers, keys) == "c0"
        took.append(time.perf_counter() - began)
    assert min(took) < most
