"""Which route and which backend a request means, and what it is told when it means nothing."""

from typing import Any

import pytest

from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.routing import BackendView, Route, RouteTable, Target, Timeouts, plan
from sidecar.policy.steering import Choice, Steering
from tests.sidecar.policy.plans import TIMEOUTS

BACKENDS = ("home", "openai", "Cloud")
OWN = Timeouts(connect=1, first_token=2, idle=3, whole=4)


def route(name: str, *models: str, backend: str = "home", **changes: Any) -> Route:
    chain = (Target(backend, None, TIMEOUTS),)
    return Route(name, models or (name,), chain, RetrySettings(), **changes)


def steering(*routes: Route, listed: tuple[str, ...] = ()) -> Steering:
    seen = BackendView(True, None, {}, {}, {name.casefold(): name for name in listed})
    return Steering(RouteTable(routes), BACKENDS, lambda _: OWN, lambda _: seen)


CHAT = route("chat", "chat", "gpt-4o*", default=True)
ODD = route("odd", "openai/special")
USUAL = steering(CHAT, ODD)


def means(choice: Choice) -> tuple[str, str | None, str | None]:
    return choice.route.name, choice.asked, choice.force


@pytest.mark.parametrize(
    ("model", "header", "expected"),
    [
        pytest.param("chat", None, ("chat", "chat", None), id="by its name"),
        pytest.param("GPT-4o-mini", None, ("chat", "GPT-4o-mini", None), id="by a pattern"),
        pytest.param(None, None, ("chat", None, None), id="no model: the default route"),
        pytest.param("chat", "openai", ("chat", "chat", "openai"), id="a route, forced by header"),
        pytest.param(None, "openai", ("chat", None, "openai"), id="no model, forced by header"),
        pytest.param("m", "openai", ("other", "m", "openai"), id="no route, forced by header"),
        pytest.param("openai/m", None, ("other", "m", "openai"), id="backend/model"),
        pytest.param("openai/a/b", None, ("other", "a/b", "openai"), id="only the first slash"),
        pytest.param("OpenAI/m", None, ("other", "m", "openai"), id="without regard to case"),
        pytest.param("cloud/m", None, ("other", "m", "Cloud"), id="the name as configured"),
        pytest.param("m", "OPENAI", ("other", "m", "openai"), id="the header too"),
        pytest.param("openai/special", None, ("odd", "openai/special", None), id="routes first"),
        pytest.param(
            "openai/m", "home", ("other", "openai/m", "home"), id="the header beats the prefix"
        ),
    ],
)
def test_choose(
    model: str | None, header: str | None, expected: tuple[str, str | None, str | None]
) -> None:
    assert means(USUAL.choose(model, header)) == expected


def test_a_forced_backend_without_a_route_has_its_own_limits() -> None:
    assert USUAL.choose("openai/m", None).route.targets == (Target("openai", None, OWN),)


def test_force_leads_a_route_to_a_backend_that_it_does_not_name() -> None:
    asked = USUAL.choose("chat", "openai")
    assert asked.route.name == "chat"
    assert asked.route.targets == (Target("openai", None, OWN),), "with its own limits"


@pytest.mark.parametrize("stay", [True, False])
def test_force_stays_local_where_every_route_does(stay: bool) -> None:
    chosen = steering(route("a", stay_local=True), route("b", stay_local=stay)).choose(
        "home/m", None
    )
    assert chosen.route.stay_local is stay


CATCHALL = route("default", "*", default=True, listed_first=True)


@pytest.mark.parametrize(
    ("listed", "model", "expected"),
    [
        pytest.param((), "openai/m", ("default", "m", "openai"), id="a prefix is not swallowed"),
        pytest.param(
            ("OpenAI/m",), "openai/m", ("default", "openai/m", None), id="a listed name with slash"
        ),
        pytest.param((), "m", ("default", "m", None), id="no prefix"),
        pytest.param((), "else/m", ("default", "else/m", None), id="not a backend"),
        pytest.param((), "openai/", ("default", "openai/", None), id="no model behind the slash"),
        pytest.param((), None, ("default", None, None), id="no model"),
    ],
)
def test_a_route_that_takes_every_name(
    listed: tuple[str, ...], model: str | None, expected: tuple[str, str | None, str | None]
) -> None:
    assert means(steering(CATCHALL, listed=listed).choose(model, None)) == expected


def test_relayed_paths() -> None:
    assert USUAL.relayed(None) is None
    relaying = steering(CHAT, route("rest", relay=True))
    assert means(relaying.relayed("OPENAI") or pytest.fail()) == ("rest", None, "openai")
    with pytest.raises(RequestRefused, match="'nobody'"):
        relaying.relayed("nobody")


# --- refusals -------------------------------------------------------------------------------------


def refusal(one: Steering, model: str | None, header: str | None = None) -> Problem:
    with pytest.raises(RequestRefused) as caught:
        one.choose(model, header)
    return caught.value.problem


def test_an_unknown_model_is_told_the_nearest_names() -> None:
    problem = refusal(steering(route("chat", "gpt-4o-mini", "llama3")), "gpt4o-mini")
    assert (problem.kind, problem.code, problem.param) == (
        ProblemKind.UNKNOWN_MODEL, "model_not_found", "model",
    )  # fmt: skip
    assert "'gpt4o-mini'" in problem.message
    assert "Did you mean 'gpt-4o-mini'?" in problem.message
    assert "llama3" not in problem.message


def test_a_name_that_looks_like_none_is_told_what_there_is() -> None:
    assert (
        "offers 'chat', 'llama3'"
        in refusal(steering(route("chat", "chat", "llama3")), "zz").message
    )
    assert len(refusal(steering(route("chat")), "z" * 10_000).message) < 300


@pytest.mark.parametrize("model", ["nobody/m", "home/", "/m", "home"])
def test_what_only_looks_like_a_forced_backend(model: str) -> None:
    assert refusal(USUAL, model).code == "model_not_found"


def test_no_model_and_no_default_route() -> None:
    problem = refusal(steering(route("chat")), None)
    assert (problem.kind, problem.code, problem.param) == (
        ProblemKind.BAD_REQUEST, "missing_model", "model",
    )  # fmt: skip
    assert "`default: true`" in problem.message and "'chat'" in problem.message


@pytest.mark.parametrize(("header", "hint"), [("opnai", "'openai'"), ("zzz", "")])
def test_an_unknown_backend(header: str, hint: str) -> None:
    problem = refusal(USUAL, "chat", header)
    assert (problem.code, problem.param) == ("unknown_backend", "x-sidecar-backend")
    assert hint in problem.message


def test_a_model_that_every_backend_denied() -> None:
    raw = b"{}"
    denial = Problem(ProblemKind.UNKNOWN_MODEL, "It has no such model.", status=400, raw=raw)
    one = steering(CHAT, listed=("gpt-4o-mini", "llama3"))
    tried = plan(CHAT, "gpt-4o-minni", one.view)
    told = one.denied_model(tried, "gpt-4o-minni", denial)
    assert (told.status, told.code, told.param, told.raw) == (404, "model_not_found", "model", None)
    assert told.message == "It has no such model. Did you mean 'gpt-4o-mini'?"
    assert one.denied_model(tried, None, denial).message == "It has no such model."


def test_a_model_is_never_proposed_as_its_own_nearest_name() -> None:
    one = steering(CHAT, listed=("gpt-4o",))
    told = one.denied_model(
        plan(CHAT, "gpt-4o", one.view), "gpt-4o", Problem(ProblemKind.UNKNOWN_MODEL, "No")
    )
    assert "gpt-4o" not in told.message
