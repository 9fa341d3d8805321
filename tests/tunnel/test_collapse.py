"""A talkative log is told short; a secret in it is not told."""

from __future__ import annotations

import base64
import json
import tracemalloc

import pytest

from tunnel.collapse import MOST, Collapse
from tunnel.redact import MASK, Redact


def test_repeats_are_counted() -> None:
    collapse = Collapse()
    taken = [collapse.take(now, "error", text) for now, text in enumerate("abababac" + "b")]
    assert taken == [True, True, False, False, False, False, False, True, False]
    lines, left_out = collapse.end()
    assert lines == [("error", "a (repeated 3 times)"), ("error", "b (repeated 3 times)")]
    assert left_out == 0
    assert collapse.take(9, "error", "a")
    assert collapse.begun == 9
    assert not collapse.take(9, "error", "a")
    assert collapse.take(9, "info", "a")
    assert collapse.end() == ([("error", "a (repeated once)")], 0)


def test_numbers_make_no_difference() -> None:
    collapse = Collapse()
    refused = "dial tcp 198.51.100.{0}:7844: connection refused connIndex={0}"
    taken = [collapse.take(0, "error", refused.format(number)) for number in range(3)]
    assert taken == [True, False, False]
    assert collapse.take(0, "error", "dial tcp [2001:db8::1]:7844: connection refused")
    assert collapse.end() == ([("error", refused.format(0) + " (repeated 2 times)")], 0)


def test_there_is_a_most() -> None:
    collapse = Collapse()
    taken = sum(collapse.take(0, "info", "x" * number) for number in range(1000))
    assert taken == MOST
    collapse.leave_out(0, 50_000)
    told = f"{50_000 + 1000 - MOST} more lines of cloudflared are left out here"
    assert collapse.end() == ([("warning", told)], 50_000 + 1000 - MOST)
    assert collapse.end() == ([], 0)
    collapse.leave_out(7, 1)
    assert collapse.begun == 7
    collapse.leave_out(8, 1)
    assert collapse.begun == 7


SECRET = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
HELD = json.dumps({"a": "account-tag", "t": "5f2c", "s": SECRET})
TOKEN = base64.b64encode(HELD.encode()).decode()
CREDENTIALS = json.dumps({"AccountTag": "a", "TunnelID": "5f2c", "TunnelSecret": SECRET})


@pytest.mark.parametrize(
    ("secret", "text", "told"),
    [
        (TOKEN, f"token {TOKEN}!", f"token {MASK}!"),
        (TOKEN + "\n", f"x{TOKEN}", f"x{MASK}"),
        (TOKEN, f"secret {SECRET}", f"secret {MASK}"),
        (TOKEN.rstrip("="), f"secret {SECRET}", f"secret {MASK}"),
        (CREDENTIALS, f"secret {SECRET}", f"secret {MASK}"),
        (CREDENTIALS, CREDENTIALS, MASK),
        (TOKEN, "/x?" + SECRET.replace("=", "%3D"), f"/x?{MASK}"),
        (None, "Authorization:[Bearer sk-12345678]", f"Authorization:[Bearer {MASK}]"),
        (None, '"authorization":"Basic dXNlcjpwYXNz"', f'"authorization":"Basic {MASK}"'),
        (None, "Cookie: CF_Authorization=eyJhbGciOi", f"Cookie: {MASK}"),
        (None, "X-Api-Key:[abcdefgh]", f"X-Api-Key:[{MASK}]"),
        (None, "Cf-Access-Client-Secret: abcdef", f"Cf-Access-Client-Secret: {MASK}"),
        (None, "GET /v1?key=abcdef&x=1", f"GET /v1?key={MASK}&x=1"),
        (None, "a bearer of good news", "a bearer of good news"),
        (None, "Registered tunnel connection", "Registered tunnel connection"),
        # the name of a quick tunnel: a look at it too early poisons caches of DNS
        (None, "| https://some-words.trycloudflare.com |", f"| https://{MASK}.trycloudflare.com |"),
        (None, "https://api.trycloudflare.com/tunnel", "https://api.trycloudflare.com/tunnel"),
        (None, "on trycloudflare.com...", "on trycloudflare.com..."),
        ("short", "a short word", "a short word"),
        ("", "", ""),
    ],
)
def test_secrets_are_masked(secret: str | None, text: str, told: str) -> None:
    assert Redact(secret)(text) == told


def test_secrets_of_children_that_ended_take_no_memory() -> None:
    Redact(f"first-{'x' * 300}")
    tracemalloc.start()
    try:
        for number in range(200):
            Redact(f"{number:04}-{'x' * 300}")
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 50_000  # bytes
