"""Aligned text."""

from typing import Any

import pytest

from sidecar.cli.tables import status, table

SEEN: dict[str, Any] = {
    "version": "1.2",
    "status": "degraded",
    "uptime": 3725.0,
    "draining": True,
    "echo": True,
    "revision": "abc",
    "configuration": {
        "faults": "f: a\nf: b",
        "warnings": ["w"],
        "restart_needed": ["listeners.data"],
    },
    "backends": [
        {
            "name": "home", "dialect": "ollama", "host": "http://h", "availability": "ready",
            "success_rate": 0.987,
            "latency": {"mean": 0.25, "p95": 1.5, "shortest": 0.1, "longest": 2.0},
            "last_fault": {"message": "refused"},
            "breaker": {"state": "closed", "seconds": 0, "models": {}},
            "probe": {"found": "well", "message": "answered 200", "latency": 0.012, "age": 4.2},
        },
        {
            "name": "far", "dialect": "openai", "host": "https://f", "availability": "resting",
            "success_rate": None, "latency": None, "last_fault": None,
            "breaker": {"state": "closed", "seconds": 0, "models": {}}, "probe": None,
        },
        {
            "name": "dead", "dialect": "openai", "host": "http://d", "availability": "unhealthy",
            "success_rate": None, "latency": None, "last_fault": None,
            "breaker": {"state": "closed", "seconds": 0, "models": {}},
            "probe": {"found": "refused", "message": "refused", "latency": None, "age": 61},
        },
    ],
    "public": None,
    "routes": [
        {
            "name": "chat", "models": ["chat", "gpt*"], "default": True, "relay": False,
            "available_backends": 1,
            "targets": [{"backend": "home", "model": "m"}, {"backend": "far", "model": None}],
        }
    ],
}  # fmt: skip


def test_columns_are_aligned_and_none_is_a_dash() -> None:
    assert table(("A", "LONG"), [("xyz", None), ("", 1)]) == "A    LONG\nxyz  -\n     1"


@pytest.mark.parametrize(
    ("availability", "breaker", "words"),
    [
        ("ejected", {"state": "open", "seconds": 21.4, "models": {}}, "ejected (21s)"),
        ("ready", {"state": "half_open", "seconds": 0, "models": {}}, "ready (on trial)"),
        (
            "ready",
            {"state": "closed", "seconds": 0, "models": {"m": {"seconds": 61, "why": ""}}},
            "ready; ejected: m (1m01s)",
        ),
    ],
)
def test_how_a_breaker_shows(availability: str, breaker: dict[str, Any], words: str) -> None:
    home = SEEN["backends"][0] | {"availability": availability, "breaker": breaker}
    assert f"  {words}  " in status(SEEN | {"backends": [home]})


def test_a_status_in_full() -> None:
    text = status(SEEN)
    for part in (
        "llm-sidecar 1.2: degraded, up 1h02m, draining",
        "built-in echo",
        "Configuration abc\n  w\n  listeners.data\n  The last one read cannot be used:\n  f: a\n",
        "home     ollama   http://h   ready      well 12ms, 4s ago   98.7%    250ms  1500ms  ",
        "100ms  2000ms  refused\n",
        "far      openai   https://f  resting    -                   -        -      -       -",
        "dead     openai   http://d   unhealthy  refused, 1m01s ago  -        -      -       -",
        "chat (default)  chat, gpt*  1      home:m → far",
    ):
        assert part in text


PUBLIC: dict[str, Any] = {"port": 14402, "open": False, "keys": 2, "access": True, "clients": []}
ANNA = {"name": "anna", "requests": 3, "streams": 1, "bytes": 4096, "last_used": 1_800_000_000.0}


@pytest.mark.parametrize(
    ("public", "words"),
    [
        (PUBLIC, "Public listener on port 14402, for 2 keys and Cloudflare Access; nobody has"),
        (PUBLIC | {"access": False, "keys": 1}, "14402, for 1 key; nobody has used it yet"),
        (PUBLIC | {"keys": None, "access": False, "open": True}, "14402, OPEN: everybody may"),
        (
            PUBLIC | {"keys": None, "clients": [ANNA]},
            "for Cloudflare Access\n"
            "CLIENT  REQUESTS  STREAMS  BYTES  LAST USED\n"
            "anna    3         1        4096   2027-01-15 08:00:00Z",
        ),
        (PUBLIC | {"clients": [ANNA] * 21}, "... and 1 more (--json shows all)"),
    ],
)
def test_who_uses_the_public_listener(public: dict[str, Any], words: str) -> None:
    assert words in status(SEEN | {"public": public})
