"""From the asked model to a route, and from a route to an ordered plan."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sidecar.policy.backoff import RetrySettings
from sidecar.policy.routing import (
    BackendView,
    Candidate,
    Plan,
    Route,
    RouteTable,
    Target,
    Timeouts,
    is_pattern,
    nearest,
    of_one_model,
    offered,
    plan,
    preferred,
)
from tests.sidecar.policy.plans import TIMEOUTS

SLOW = Timeouts(connect=9, first_token=9, idle=9, whole=9)
Targets = Sequence[tuple[str, str | None]]


def route(name: str, *models: str, targets: Targets = (("home", None),), **changes: Any) -> Route:
    chain = tuple(Target(backend, model, TIMEOUTS) for backend, model in targets)
    return Route(name, models or (name,), chain, RetrySettings(), **changes)


def view(
    model: str | None = None,
    listed: Sequence[str] | None = None,
    models: Mapping[str, str] | None = None,
    *,
    enabled: bool = True,
    context: Mapping[str, int] | None = None,
) -> BackendView:
    catalogue = None if listed is None else {name.casefold(): name for name in listed}
    return BackendView(enabled, model, models or {}, context or {}, catalogue)


def views(**known: BackendView) -> Callable[[str], BackendView]:
    return lambda name: known.get(name, view())


def models_of(
    one: Route, asked: str | None, seen: Callable[[str], BackendView], force: str | None = None
) -> list[tuple[str, str | None]]:
    return [(two.backend, two.model) for two in plan(one, asked, seen, force).candidates]


TABLE = RouteTable(
    [
        route("wide", "gpt-4*"),
        route("narrow", "gpt-4o*", "Chat", default=True),
        route("exact", "gpt-4o-mini"),
        route("single", "o?-mini"),
        route("class", "llama[23]"),
        route("rest", relay=True),
    ]
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("gpt-4o-mini", "exact"),
        ("GPT-4O-Mini", "exact"),
        ("gpt-4o-mini-2024", "wide"),
        ("gpt-4", "wide"),
        ("chat", "narrow"),
        ("CHAT", "narrow"),
        ("chats", None),
        ("o3-mini", "single"),
        ("o33-mini", None),
        ("Llama3", "class"),
        ("llama4", None),
        ("x-gpt-4", None),
        ("", None),
    ],
)
def test_match(asked: str, expected: str | None) -> None:
    found = TABLE.match(asked)
    assert (found.name if found else None) == expected


def test_marked_routes() -> None:
    assert TABLE.default is not None and TABLE.default.name == "narrow"
    assert TABLE.relay is not None and TABLE.relay.name == "rest"
    bare = RouteTable([route("chat")])
    assert (bare.default, bare.relay) == (None, None)


def test_of_two_routes_with_one_name_the_first_takes_it() -> None:
    table = RouteTable([route("first", "chat"), route("second", "CHAT")])
    found = table.match("chat")
    assert found is not None and found.name == "first"


@pytest.mark.parametrize(("name", "expected"), [("a*", True), ("a?", True), ("[ab]", True)])
def test_patterns(name: str, expected: bool) -> None:
    assert is_pattern(name) is expected
    assert not is_pattern("plain-name_1.5:7b/x")


# --- which model is sent --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "asked", "default", "sent"),
    [
        ("theirs", "asked", "default", "theirs"),
        (None, "asked", "default", "asked"),
        (None, None, "default", "default"),
        (None, None, None, None),
        ("theirs", None, None, "theirs"),
    ],
)
def test_the_model_is_the_targets_else_the_requests_else_the_default(
    target: str | None, asked: str | None, default: str | None, sent: str | None
) -> None:
    chat = route("chat", targets=[("home", target)])
    assert models_of(chat, asked, views(home=view(default))) == [("home", sent)]


@pytest.mark.parametrize("asked", ["small", "SMALL"])
def test_a_backend_may_have_its_own_names(asked: str) -> None:
    home = view(models={"small": "llama3.1:8b"}, context={"llama3.1:8b": 131_072})
    chat = route("chat", targets=[("home", None)])
    assert plan(chat, asked, views(home=home)).candidates == (
        Candidate("home", "llama3.1:8b", TIMEOUTS, 131_072),
    )
    named = route("chat", targets=[("home", "Small")])
    assert models_of(named, "x", views(home=home)) == [("home", "llama3.1:8b")]


def test_the_order_is_that_of_the_file() -> None:
    chat = route("chat", targets=[("b", "1"), ("a", "2"), ("b", "3")])
    assert models_of(chat, "chat", views()) == [("b", "1"), ("a", "2"), ("b", "3")]


def test_what_is_disabled_is_left_out() -> None:
    chat = route("chat", targets=[("a", None), ("b", None)])
    assert models_of(chat, "m", views(a=view(enabled=False))) == [("b", "m")]
    off = views(a=view(enabled=False), b=view(enabled=False))
    assert models_of(chat, "m", off) == []


# --- a forced backend -----------------------------------------------------------------------------


def test_force_keeps_the_targets_on_that_backend() -> None:
    chat = route("chat", targets=[("a", "1"), ("b", "2"), ("a", "3")])
    assert models_of(chat, "chat", views(), force="a") == [("a", "1"), ("a", "3")]


# --- zero configuration: who lists it goes first --------------------------------------------------

ANY = route(
    "default", "*", targets=[("ollama", None), ("openai", None), ("new", None)], listed_first=True
)
KNOWN = views(
    ollama=view("llama3", listed=["llama3", "Qwen3:8B"]),
    openai=view("gpt-4o", listed=["gpt-4o", "gpt-4o-mini"]),
    new=view("fresh"),
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(
            "gpt-4o-mini",
            [("openai", "gpt-4o-mini"), ("ollama", "llama3"), ("new", "gpt-4o-mini")],
            id="the one that lists it first, others by default, the unknown by the asked name",
        ),
        pytest.param(
            "QWEN3:8b",
            [("ollama", "Qwen3:8B"), ("openai", "gpt-4o"), ("new", "QWEN3:8b")],
            id="by the backend's own spelling",
        ),
        pytest.param(
            "nobody-has-it",
            [("ollama", "llama3"), ("openai", "gpt-4o"), ("new", "nobody-has-it")],
            id="nobody lists it",
        ),
        pytest.param(
            "Auto", [("ollama", "llama3"), ("openai", "gpt-4o"), ("new", "fresh")], id="auto"
        ),
        pytest.param(
            None, [("ollama", "llama3"), ("openai", "gpt-4o"), ("new", "fresh")], id="no model"
        ),
    ],
)
def test_listed_first(asked: str | None, expected: list[tuple[str, str | None]]) -> None:
    assert models_of(ANY, asked, KNOWN) == expected


def test_a_backend_without_a_default_is_sent_the_first_model_that_it_lists() -> None:
    seen = views(ollama=view(listed=["llama3", "qwen3"]), openai=view(listed=[]), new=view())
    assert models_of(ANY, "auto", seen) == [("ollama", "llama3"), ("openai", None), ("new", None)]
    assert models_of(ANY, "phi4", seen)[1] == ("openai", "phi4"), "it may have got it since"
    chat = route("chat", targets=[("ollama", None)])
    assert models_of(chat, None, seen) == [("ollama", None)]


# --- what clients may ask for ---------------------------------------------------------------------


def test_offered_names_are_those_of_the_routes() -> None:
    table = RouteTable([route("chat", "chat", "gpt-4o"), route("other", "x")])
    assert offered(table, views()) == [("chat", "chat"), ("gpt-4o", "chat"), ("x", "other")]


def test_patterns_offer_what_their_backends_have_and_they_match() -> None:
    table = RouteTable(
        [
            route("chat", "gpt-4o*", targets=[("a", "gpt-4o-2024"), ("b", None), ("off", None)]),
            route("taken", "gpt-4o-mini"),
        ]
    )
    seen = views(
        a=view("gpt-4o", models={"gpt-4o-own": "x", "other": "y"}),
        b=view(listed=["gpt-4o-mini", "gpt-4o-big", "o3"]),
        off=view(enabled=False, listed=["gpt-4o-off"]),
    )
    assert offered(table, seen) == [
        ("gpt-4o-mini", "taken"),
        ("gpt-4o", "chat"),
        ("gpt-4o-2024", "chat"),
        ("gpt-4o-own", "chat"),
        ("gpt-4o-big", "chat"),
    ]


def test_auto_is_always_offered_by_the_route_of_zero_configuration() -> None:
    names = dict(offered(RouteTable([ANY]), KNOWN))
    assert names["auto"] == "default"
    assert set(names) == {"auto", "llama3", "Qwen3:8B", "gpt-4o", "gpt-4o-mini", "fresh"}


def test_nearest() -> None:
    known = ["gpt-4o-mini", "GPT-4o", "llama3"]
    assert nearest("gtp-4o", known)[0] == "GPT-4o"
    assert nearest("LAMA3", known) == ["llama3"]
    assert nearest("zzzzzz", known) == []
    assert len(nearest("gpt-4o", [f"gpt-4o-{n}" for n in range(9)])) == 3


# --- crossings ------------------------------------------------------------------------------------


def chain(*targets: tuple[str, str | None]) -> Plan:
    return plan(route("chat", targets=targets), None, views())


def backends_of(one: Plan) -> list[str]:
    return [candidate.backend for candidate in one.candidates]


@pytest.mark.parametrize(
    ("losing", "expected"),
    [
        ("", "abcd"),
        ("a", "bcda"),
        ("ac", "bdac"),
        ("abcd", "abcd"),
    ],
)
def test_who_loses_nothing_goes_first_and_else_the_order_of_the_file_stays(
    losing: str, expected: str
) -> None:
    asked = chain(*((name, "m") for name in "abcd"))
    found = preferred(asked, lambda one: one.backend in losing)
    assert "".join(backends_of(found)) == expected
    assert found.route is asked.route


@pytest.mark.parametrize(
    ("targets", "unable", "expected"),
    [
        pytest.param([("a", "e"), ("b", "e")], "", "ab", id="the same model"),
        pytest.param([("a", "e"), ("b", "f")], "", "a", id="another model"),
        pytest.param([("a", "E"), ("b", "e:latest")], "", "ab", id="the same by another spelling"),
        pytest.param([("a", "e:v2"), ("b", "e")], "", "a", id="another version"),
        pytest.param([("a", None), ("b", None)], "", "ab", id="whatever the request names"),
        pytest.param([("a", "e"), ("b", "f"), ("c", "f")], "a", "bc", id="the first that can"),
        pytest.param([("a", "e"), ("b", "e")], "b", "a", id="others that can"),
        pytest.param([("a", "e"), ("b", "f")], "ab", "a", id="nobody can: one says why"),
        pytest.param([], "", "", id="nobody at all"),
    ],
)
def test_vectors_come_from_one_model(targets: Targets, unable: str, expected: str) -> None:
    found = of_one_model(chain(*targets), lambda one: one.backend not in unable)
    assert "".join(backends_of(found)) == expected


def test_a_plan_knows_how_much_its_models_read_and_write() -> None:
    known = replace(view(context={"m": 8192}), max_output={"m": 1024})
    (found,) = plan(route("chat", targets=[("a", "m")]), None, views(a=known)).candidates
    assert (found.context, found.max_output) == (8192, 1024)


@pytest.mark.parametrize(
    ("asked", "plain"),
    [
        ("chat", "chat"),
        ("chat:latest", "chat"),
        ("Tagged:latest", "Tagged:latest"),
        ("gpt-5:latest", "gpt-5"),
        ("llama3:8b", "llama3:8b"),
        ("nobody:latest", "nobody:latest"),
    ],
)
def test_a_name_means_the_same_with_the_default_tag(asked: str, plain: str) -> None:
    names = ("chat", "tagged:latest", "gpt-*")
    table = RouteTable([Route("r", names, (), RetrySettings())])
    assert table.plain(asked) == plain


def test_of_a_public_table_only_public_routes_are_on_offer() -> None:
    table = RouteTable(
        [
            route("private", "secret", "gpt-4o-mini", "small:latest", default=True, relay=True),
            route("open", "chat", "SECRET", "gpt-*", targets=(("home", "gpt-own"),), public=True),
            route("any", "*"),
        ]
    )
    public = table.published
    assert public is table.published
    asked = ("chat", "gpt-4o", "secret", "gpt-4o-mini", "other")
    found = [public.match(name) for name in asked]
    assert [one and one.name for one in found] == ["open", "open", None, None, None]
    assert (public.default, public.relay) == (None, None)
    assert public.plain("chat:latest") == "chat"
    assert public.plain("small:latest") == "small:latest"
    listed = ("gpt-4o-mini", "gpt-5", "secret", "other")
    names = [name for name, _ in offered(public, views(home=view(listed=listed)))]
    assert names == ["chat", "gpt-5", "gpt-own"]
    assert [one.name for one in table.routes] == ["private", "open", "any"]


def test_a_public_default_is_one_for_strangers_too() -> None:
    table = RouteTable([route("open", "chat", default=True, public=True)])
    assert table.published.default is table.default
