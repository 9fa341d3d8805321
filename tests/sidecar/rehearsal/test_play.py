"""Rows played on configurations of several shapes, in process."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.config.load import load_mapping
from sidecar.rehearsal.judging import Mark
from sidecar.rehearsal.play import Rehearsal, RouteResult, rehearse
from sidecar.rehearsal.rows import NOT_REHEARSED, PLAYS, ROWS
from sidecar.rehearsal.stage import Reach, cast, staged
from sidecar.rehearsal.standin import StandIn
from sidecar.rehearsal.voice import Voice
from tests.sidecar.rehearsal.scenes import casting, loaded

QUICK = {"timeouts": {"first_token": "10s", "whole": "60s"}}


def play(*rows: int, **more: Any) -> RouteResult:
    return rehearse(loaded(*more.pop("backends", ("p", "f")), **more), rows=rows).routes[0]


def told(result: RouteResult, row: int) -> list[str]:
    return [one.finding.told for one in result.played if one.row == row]


def test_every_row_is_played_or_says_why_not() -> None:
    assert list(ROWS) == list(range(1, 33))
    assert {play.row for play in PLAYS} | set(NOT_REHEARSED) == set(ROWS)
    names = [(play.row, play.name, way) for play in PLAYS for way in play.ways]
    assert len(names) == len(set(names))


def test_content_policy_that_is_moved() -> None:
    moved = {"on": {"content_refused": "fail_over"}}
    assert told(play(13), 13) == ["the client was told the reason"] * 2
    assert told(play(13, route=moved), 13) == ["answered by f"] * 2


def test_contexts_that_are_declared() -> None:
    def contexts(first: int, second: int) -> RouteResult:
        ends = {"p": first, "f": second}
        backends = {
            name: {"dialect": "openai", "base_url": "http://x/v1", "context": {"m": size}}
            for name, size in ends.items()
        }
        route = {"targets": [{"backend": name, "model": "m"} for name in ends]}
        data = {"backends": backends, "routes": {"chat": route}}
        return rehearse(load_mapping(data, {}, source="test"), rows=[12]).routes[0]

    assert contexts(1000, 2000).mark(12) is Mark.HOLDS
    assert contexts(2000, 1000).mark(12) is Mark.BETTER


def test_a_key_that_the_client_brings_is_the_clients() -> None:
    forward = {"dialect": "openai", "base_url": "http://p/v1", "auth": {"forward": {}}}
    backends = {"p": forward, "f": {"dialect": "openai", "base_url": "http://f/v1"}}
    data = {
        "backends": backends,
        "routes": {"chat": {"targets": [{"backend": "p"}, {"backend": "f"}]}},
    }
    found = rehearse(load_mapping(data, {}, source="test"), rows=[25]).routes[0]
    assert found.mark(25) is Mark.HOLDS
    assert all("the client's own key" in one for one in told(found, 25))


def test_limits_are_played_at_their_length() -> None:
    found = play(6, 9, defaults=QUICK)
    took = {(one.row, one.stream): one.took for one in found.played}
    assert took == {
        (6, True): pytest.approx(10, abs=1),
        (6, False): pytest.approx(60, abs=1),
        (9, True): pytest.approx(30, abs=1),
        (9, False): pytest.approx(60, abs=1),
    }


@pytest.mark.parametrize(
    ("route", "why"),
    [
        ({"models": [], "relay": True}, "it takes no chats: it only relays other paths"),
        ({"models": ["gpt-*"]}, None),
        ({"models": [], "default": True}, None),
        ({"models": ["x?[ab]"]}, None),
        ({"models": ["*"], "listed_first": True}, None),
    ],
)
def test_how_a_route_is_asked(route: dict[str, Any], why: str | None) -> None:
    found = play(10, 21, 22, route=route)
    assert found.why_not == why
    expected = Mark.NOT_REHEARSED if why else Mark.HOLDS
    assert {found.mark(row) for row in (10, 21, 22)} == {expected}


def test_quirks_do_not_disturb_a_stand_in() -> None:
    quirks = {
        "drop": ["model"],
        "rename": {"max_tokens": "most"},
        "path": "/deep{path}",
        "query": {"v": "1"},
    }
    backend = {"dialect": "openai", "base_url": "http://p/v1", "quirks": quirks}
    data = {
        "backends": {"p": backend, "f": {"preset": "echo"}},
        "routes": {"chat": {"targets": [{"backend": "p", "model": "m"}, {"backend": "f"}]}},
    }
    found = rehearse(load_mapping(data, {}, source="test"), rows=[4, 10, 23]).routes[0]
    assert {one.finding.mark for one in found.played} == {Mark.HOLDS}


def test_only_what_was_asked_for_is_played() -> None:
    found: Rehearsal = rehearse(loaded("p", "f"), routes=["chat"], rows=[3, 4, 28])
    assert found.rows == (3, 4, 28)
    assert [route.name for route in found.routes] == ["chat"]
    assert {one.row for one in found.routes[0].played} == {3, 4, 28}
    assert found.routes[0].mark(28) is Mark.NOT_REHEARSED
    assert found.holds


def test_progress_is_told() -> None:
    seen: list[tuple[int, int]] = []
    rehearse(loaded("p", "f"), rows=[4], progress=lambda done, total, _: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("reach", ["http", "tls", "dns"])
async def test_nothing_of_the_operators_is_in_the_staged_configuration(reach: Reach) -> None:
    environ = {"KEY": "sk-very-secret-1234567890"}
    backends = {
        "p": {
            "dialect": "openai",
            "base_url": "http://real.example/v1",
            "auth": {"bearer": {"env": "KEY"}},
            "proxy": "env",
        },
        "f": {
            "dialect": "anthropic",
            "base_url": "https://other.example",
            "auth": {"forward": {"replace": ["*"], "else": {"env": "KEY"}}},
        },
    }
    data = {
        "backends": {**backends, "unused": {"dialect": "openai", "base_url": "http://u.example"}},
        "routes": {"chat": {"targets": [{"backend": "p"}, {"backend": "f"}]}},
        "hosts": ["real.example"],
        "fetch_images": True,
    }
    found = load_mapping(data, environ, source="test")
    made = cast(found, found.snapshot.routes.routes[0])
    assert not isinstance(made, str)
    standins = {
        name: StandIn(name, Voice(made.backends[name].dialect, "a", 1), (), lambda: 0.0)
        for name in ("p", "f")
    }
    async with standins["p"], standins["f"]:
        snapshot = staged(made, standins, reach)
    assert set(snapshot.backends) == {"p", "f"}
    for backend in snapshot.backends.values():
        assert backend.base_url.partition("//")[2].startswith(("127.0.0.1:", "rehearsal.invalid:"))
        assert not backend.proxy
        assert backend.ca is None
        assert not backend.echo
    text = repr(snapshot) + "".join(
        str(getattr(getattr(one.auth, "secret", None), "value", ""))
        for one in snapshot.backends.values()
    )
    assert ".example" not in text
    assert "very-secret" not in text
    assert not snapshot.fetch_images


def test_same_models_say_the_same() -> None:
    assert casting("p", "f").letters == {"p": "a", "f": "a"}
    targets = [{"backend": "p", "model": "m"}, {"backend": "f", "model": "n"}]
    assert casting("p", "f", route={"targets": targets}).letters == {"p": "a", "f": "b"}
