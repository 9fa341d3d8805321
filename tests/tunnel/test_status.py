"""The tunnel's status, as JSON and as text."""

import json
from dataclasses import replace

from tunnel.facts import Facts, State
from tunnel.status import as_text, as_values

RUNS = Facts(
    State.DEGRADED,
    10.0,
    why="3 of 4 connections",
    replacing=State.STARTING,
    url="https://llm.example.com",
    connector="c-1",
    pid=77,
    version="2026.8.2",
    protocol="http2",
    ready_connections=3,
    most_connections=4,
    started=5.0,
    probe="carried",
    probe_at=12.0,
    restarts=2,
    crash_loop=True,
    foreign_ingress=True,
    others=("r-2",),
)
WAITS = Facts(State.BACKOFF, 10.0, why="exit 1", next_start=13.5, backoff=3.5)


def test_moments_become_ages() -> None:
    told = json.loads(json.dumps(as_values(RUNS, 15.0)))
    assert told["seconds"] == 5.0
    assert told["probe"] == {"found": "carried", "age": 3.0}
    assert told["child"] == {
        "pid": 77, "connector": "c-1", "version": "2026.8.2", "protocol": "http2", "uptime": 10.0,
    }  # fmt: skip
    assert told["next_start"] is None
    waiting = as_values(WAITS, 11.0)
    assert (waiting["next_start"], waiting["child"], waiting["probe"]) == (2.5, None, None)
    assert as_values(WAITS, 99.0)["next_start"] == 0.0


def test_text_says_all_of_it() -> None:
    text = as_text(as_values(RUNS, 15.0))
    for word in (
        "Tunnel degraded for 5 s", "a second cloudflared is starting", "3 of 4 connections",
        "https://llm.example.com", "carried, 3 s ago", "2026.8.2", "pid 77", "http2", "c-1",
        "restarts: 2", "again and again", "not ours", "r-2",
    ):  # fmt: skip
        assert word in text
    waiting = as_text(as_values(replace(WAITS, restarts=1), 11.0))
    assert "not known yet" in waiting
    assert "next start in 2.5 s" in waiting
    assert "pid" not in waiting
