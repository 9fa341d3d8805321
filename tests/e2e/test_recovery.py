"""Streams that break behind their first token, and go on with another backend's answer or not.

The official clients of each dialect ask chains of two strict backends of every dialect. Whoever
speaks calls itself by one name, so that a second backend can repeat what a first one has said.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from sidecar.policy.estimate import estimated_usage
from tests.e2e.client import Got
from tests.e2e.client import chat as openai_chat
from tests.e2e.crossing import (
    ANTHROPIC,
    DIALECTS,
    ENV,
    OPENAI,
    PATHS,
    RESPONSES,
    backend,
    chat,
    model_of,
    strict,
)
from tests.e2e.harness import Config, Sidecar, chain, until
from tests.e2e.matrix.clients import CLIENTS
from tests.e2e.matrix.talk import Answer, Ask, Client, Failed, Stop, Tool, Why
from tests.fakes import answers
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen
from tests.fakes.strict import model
from tests.fakes.strict.backend import StrictBackend

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAIRS = list(product(DIALECTS, DIALECTS))
SAID = model.usual("One", "a tester", "hi")


@dataclass(frozen=True)
class Stage:
    """A sidecar before a first and a second backend of every dialect, and the official clients."""

    sidecar: Sidecar
    first: Mapping[str, StrictBackend]
    second: Mapping[str, StrictBackend]
    clients: Mapping[str, Client]


def routes(stage: Stage) -> Config:
    told: Config = {}
    for one, other in PAIRS:
        for fault, scenario in (("cut", "text"), ("breaks", "text"), ("cut", "cut")):
            targets = [
                {"backend": f"first-{one}", "model": model_of(stage.first[one], fault)},
                {"backend": f"second-{other}", "model": model_of(stage.second[other], scenario)},
            ]
            name = f"{one}--{fault}--{other}--{scenario}"
            told[name] = {"targets": targets, "retry": {"attempts": 0}}
    return told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:

        async def fakes(name: str) -> dict[str, StrictBackend]:
            made = {each: await stack.enter_async_context(strict(each)) for each in DIALECTS}
            for fake in made.values():
                fake.go_on.set()
                fake.who = name
            return made

        first, second = await fakes("One"), await fakes("One")
        config: Config = {
            "backends": {
                f"{place}-{name}": backend(fake)
                for place, group in (("first", first), ("second", second))
                for name, fake in group.items()
            },
        }
        standing = Stage(Sidecar(tmp_path_factory.mktemp("recovery"), None), first, second, {})
        config["routes"] = routes(standing)
        folder = tmp_path_factory.mktemp("recovery")
        sidecar = await stack.enter_async_context(Sidecar(folder, config, env=ENV))
        clients = {name: make(sidecar.base_url, "k") for name, make in CLIENTS.items()}
        for client in clients.values():
            stack.push_async_callback(client.close)
        yield Stage(sidecar, first, second, clients)


async def heard(client: Client, first: StrictBackend, ask: Ask) -> Answer:
    """The answer to a request whose first backend breaks off once half of it has been heard."""
    first.go_on = asyncio.Event()
    work = asyncio.ensure_future(client.ask(ask))
    half = asyncio.ensure_future(ask.heard.wait())
    await asyncio.wait((work, half), return_when=asyncio.FIRST_COMPLETED)
    first.go_on.set()
    half.cancel()
    return await work


def recoveries(stage: Stage) -> list[tuple[str, list[str]]]:
    """The route of each request and how its recoveries ended, as the log tells."""
    lines: list[dict[str, Any]] = stage.sidecar.log
    return [(line["route"], line["recoveries"]) for line in lines if "attempts" in line]


def replays(stage: Stage, route: str) -> list[list[str]]:
    """Those of one route; to scrape the metrics each time would take long."""
    return [ends for name, ends in recoveries(stage) if name == route]


async def until_replay(stage: Stage, route: str, result: str, before: list[list[str]]) -> None:
    async def told() -> bool:
        return len(replays(stage, route)) > len(before)

    await until(told, f"a request of {route} is in the log")
    assert replays(stage, route) == [*before, [f"replay: {result}"]]


@pytest.mark.parametrize("fault", ["cut", "breaks"])
@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_the_same_answer_goes_on(
    stage: Stage, client: str, first: str, second: str, fault: str
) -> None:
    """The client's own SDK reads one whole answer, each word of it once."""
    name = f"{first}--{fault}--{second}--text"
    before = replays(stage, name)
    ask = Ask(name, True, "hi", system="a tester")
    answer = await heard(stage.clients[client], stage.first[first], ask)
    assert (answer.text, answer.stop) == (SAID, Stop.END)
    assert answer.tokens is not None and answer.tokens.output == model.OUTPUT
    await until_replay(stage, name, "ok", before)


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_another_answer_is_never_mixed_in(
    stage: Stage, client: str, first: str, second: str
) -> None:
    name = f"{first}--cut--{second}--text"
    before = replays(stage, name)
    stage.second[second].who = "Two"
    try:
        with pytest.raises(Failed) as caught:
            ask = Ask(name, True, "hi", system="a tester")
            await heard(stage.clients[client], stage.first[first], ask)
    finally:
        stage.second[second].who = "One"
    assert caught.value.why in (Why.IN_STREAM, Why.SERVER)
    assert caught.value.heard and SAID.startswith(caught.value.heard)
    await until_replay(stage, name, "failed", before)


async def test_the_metrics_count_what_the_log_tells(stage: Stage) -> None:
    name = f"{OPENAI}--cut--{OPENAI}--text"
    before = replays(stage, name)
    await heard(stage.clients[OPENAI], stage.first[OPENAI], Ask(name, True, "hi"))
    await until_replay(stage, name, "ok", before)
    told = Counter((route, end) for route, ends in recoveries(stage) for end in ends)
    counted = Counter(
        {
            (has["route"], f"{has['way']}: {has['result']}"): number
            for name, has, number in (await stage.sidecar.metrics()).samples
            if name == "llm_sidecar_recoveries_total" and number
        }
    )
    assert counted == told


@pytest.mark.parametrize("second", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_second_stream_that_breaks_too_is_an_error(
    stage: Stage, client: str, second: str
) -> None:
    with pytest.raises(Failed) as caught:
        ask = Ask(f"{client}--cut--{second}--cut", True, "hi", system="a tester")
        await heard(stage.clients[client], stage.first[client], ask)
    assert SAID.startswith(caught.value.heard) and caught.value.heard != SAID


WEATHER = Tool(
    "weather",
    "Tells the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


@pytest.mark.parametrize("second", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_call_of_a_tool_goes_on_or_fails_but_is_never_half(
    stage: Stage, client: str, second: str
) -> None:
    ask = Ask(f"{client}--cut--{second}--text", True, "hi", tools=[WEATHER])
    try:
        stage.first[client].go_on.set()
        answer = await stage.clients[client].ask(ask)
    except Failed as failed:
        assert failed.why in (Why.IN_STREAM, Why.SERVER)
        return
    (call,) = answer.calls
    assert call.name == "weather" and set(call.arguments) == {"city"}


# --- in the OpenAI dialect: whom, when and how often ----------------------------------------------

WORDS = answers.words("p")
SAME = b.well(WORDS)


async def ask(shared: Sidecar, *fakes: Backend, **route: Any) -> tuple[Got, Sidecar]:
    """One streamed request to a chain of fakes; nothing is in flight when it returns."""
    async with AsyncExitStack() as stack:
        for fake in fakes:
            await stack.enter_async_context(fake)
        sidecar = await stack.enter_async_context(shared.playing(chain(*fakes, **route)))
        got = await sidecar.ask(openai_chat(stream=True))
        await sidecar.idle()
    return got, sidecar


def check_whole(got: Got) -> None:
    assert got.error is None
    assert (got.text, got.finish, got.done) == ("".join(WORDS), "stop", True)
    assert len({event["id"] for event in got.events}) == 1, "one stream, one id"


def check_broken(got: Got) -> None:
    assert got.error is not None and got.events[-1]["error"] is got.error
    assert got.finish is None and not got.done
    assert "".join(WORDS).startswith(got.text) and got.text


async def test_the_target_that_broke_is_asked_once_more_when_nobody_else_can_go_on(
    shared: Sidecar,
) -> None:
    p = Backend("p", b.cut(b.Reset()), rest=SAME)
    got, _ = await ask(shared, p)
    check_whole(got)
    assert len(p.requests) == 2


async def test_calls_that_came_all_at_once_are_never_spliced(shared: Sidecar) -> None:
    """Events tell calls one after the other, and could not tell how far the second one had come."""

    def frames(*pieces: tuple[int, str]) -> list[bytes]:
        calls = [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]
        for place, piece in pieces:
            item = {"index": place, "id": f"call_{place}", "type": "function"}
            call = {**item, "function": {"name": "weather", "arguments": piece}}
            delta = {"tool_calls": [call]}
            calls.append({"index": 0, "delta": delta, "finish_reason": None})
        if pieces[-1][1].endswith("}"):
            calls.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return [answers.frame({**head, "choices": [call]}) for call in calls]

    half = frames((0, '{"city": '), (1, '{"ci'))
    p = Backend("p", rest=lambda _: b.flow(half, b.Close()))
    whole = frames((0, '{"city": "Bern"}'), (1, '{"city": "Chur"}'))
    f = Backend("f", rest=lambda _: b.flow([*whole, answers.DONE], b.Send(b.END)))
    got, _ = await ask(shared, p, f, retry={"attempts": 0})
    assert got.error is not None and got.events[-1]["error"] is got.error
    assert not got.done and got.finish is None
    assert got.code == "truncated"


async def test_one_that_fell_silent_is_not_asked_again(shared: Sidecar) -> None:
    p = Backend("p", b.cut(b.Silence()), rest=SAME)
    async with p, shared.playing({**chain(p), "defaults": IDLE}) as sidecar:
        check_broken(await sidecar.ask(openai_chat(stream=True)))
    assert len(p.requests) == 1


IDLE: Config = {"timeouts": {"idle": "1s", "first_token": "1s"}}


async def test_nobody_is_asked_to_go_on_for_a_client_that_has_waited_its_time(
    shared: Sidecar,
) -> None:
    p, f = Backend("p", b.cut(b.Reset()), rest=SAME), Backend("f", rest=b.silent)
    async with p, f, shared.playing(chain(p, f)) as sidecar:
        told = {"x-stainless-read-timeout": "0.3"}
        check_broken(await sidecar.ask(openai_chat(stream=True), headers=told))
    assert (len(p.requests), len(f.requests)) == (1, 1)


async def test_silence_in_the_middle_is_rescued_by_the_next_target(shared: Sidecar) -> None:
    p, f = Backend("p", rest=b.cut(b.Silence())), Backend("f", rest=SAME)
    async with p, f, shared.playing({**chain(p, f), "defaults": IDLE}) as sidecar:
        check_whole(await sidecar.ask(openai_chat(stream=True)))


async def test_each_further_target_is_tried(shared: Sidecar) -> None:
    p, f, g = (
        Backend("p", rest=b.cut(b.Reset())),
        Backend("f", rest=b.status(503)),
        Backend("g", rest=SAME),
    )
    got, sidecar = await ask(shared, p, f, g)
    check_whole(got)
    line = await sidecar.request_line(got.headers["x-request-id"])
    assert line["recoveries"] == ["replay: failed", "replay: ok"]
    assert line["result"] == "ok"


async def test_a_second_break_further_on_is_taken_up_again(shared: Sidecar) -> None:
    p = Backend("p", rest=b.cut(b.Reset(), after=10))
    f = Backend("f", rest=lambda seen: b.cut(b.Reset(), after=30)(_as(seen, "p")))
    g = Backend("g", rest=SAME)
    got, _ = await ask(shared, p, f, g)
    check_whole(got)


def _as(seen: Seen, name: str) -> Seen:
    """The same request, to be answered with the words of another backend."""
    return Seen(name, seen.method, seen.target, seen.headers, seen.body, seen.at, 0)


async def test_a_target_that_answers_whole_is_compared_too(shared: Sidecar) -> None:
    p = Backend("p", rest=b.cut(b.Reset()))
    f = Backend("f", rest=lambda seen: b.json_to_a_stream(_as(seen, "p")))
    got, _ = await ask(shared, p, f)
    check_whole(got)


async def test_usage_is_that_of_the_backend_that_went_on(shared: Sidecar) -> None:
    p, f = Backend("p", rest=b.cut(b.Reset())), Backend("f", rest=SAME)
    async with p, f, shared.playing(chain(p, f)) as sidecar:
        asked = openai_chat(stream=True, stream_options={"include_usage": True})
        got = await sidecar.ask(asked)
        check_whole(got)
        assert got.usage == {"prompt_tokens": 7, "completion_tokens": 60, "total_tokens": 67}
        metrics = await sidecar.idle()
        assert metrics.value("tokens_total", backend="f", type="output") == 60
        assert metrics.value("tokens_total", backend="p") == 0
        assert metrics.value("streams_aborted_total") == 0
        assert metrics.value("attempts_total", backend="p", outcome="truncated") == 1


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        pytest.param({"recover": ["fail"]}, openai_chat(stream=True), id="the route only fails"),
        pytest.param({}, openai_chat(stream=True, n=2), id="two choices"),
    ],
)
async def test_nobody_else_is_asked_where_nothing_may_go_on(
    shared: Sidecar, how: dict[str, Any], asked: Config
) -> None:
    p, f = Backend("p", rest=b.cut(b.Reset())), Backend("f", rest=SAME)
    async with p, f, shared.playing(chain(p, f, **how)) as sidecar:
        check_broken(await sidecar.ask(asked))
    assert not f.requests


# --- going on from a partial turn -----------------------------------------------------------------


def rest_of(kept: int) -> b.Behaviour:
    """Goes on where an answer broke behind so many words."""

    def play(seen: Seen) -> b.Steps:
        last = json.loads(seen.body)["messages"][-1]
        assert last == {"role": "assistant", "content": "".join(WORDS[:kept]).rstrip()}
        text = "".join(WORDS)[len(last["content"]) :]
        return b.well([text])(seen)

    return play


def prefilled(p: Backend, f: Backend, *ways: str) -> Config:
    config = chain(p, f, recover=[*ways, "fail"])
    config["routes"]["chat"]["targets"][1]["prefill"] = True  # type: ignore[index]
    return config


@pytest.mark.parametrize("ways", [("continue",), ("replay", "continue")])
async def test_a_target_that_can_goes_on_from_the_text(
    shared: Sidecar, ways: tuple[str, ...]
) -> None:
    p = Backend("p", rest=b.cut(b.Send(b.END)))  # so that all forty words arrive
    other = [b.well(["something else"])] if "replay" in ways else []
    f = Backend("f", *other, rest=rest_of(40))
    async with p, f, shared.playing(prefilled(p, f, *ways)) as sidecar:
        got = await sidecar.ask(openai_chat(stream=True, stream_options={"include_usage": True}))
        check_whole(got)
        metrics = await sidecar.idle()
        assert metrics.value("recoveries_total", way="continue", result="ok") == 1
        own = metrics.value("tokens_total", backend="f", type="output")
        before = estimated_usage(0, len("".join(WORDS[:40]))).output_tokens
        assert isinstance(got.usage, dict) and got.usage["completion_tokens"] == own + before


async def test_row_14_a_refused_prefill_is_never_the_clients_error(shared: Sidecar) -> None:
    p, f = Backend("p", rest=b.cut(b.Reset())), Backend("f", rest=b.PREFILL_REFUSED)
    async with p, f, shared.playing(prefilled(p, f, "continue")) as sidecar:
        got = await sidecar.ask(openai_chat(stream=True))
    check_broken(got)
    assert "prefill" not in got.message and "'p'" in got.message
    assert len(f.requests) == 1


async def test_only_a_target_that_says_so_is_handed_a_partial_turn(shared: Sidecar) -> None:
    p, f = Backend("p", rest=b.cut(b.Reset())), Backend("f", rest=SAME)
    got, _ = await ask(shared, p, f, recover=["continue", "fail"])
    check_broken(got)
    assert not f.requests


# --- assured answers, and signs of life -----------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut", "breaks"])
@pytest.mark.parametrize("client", DIALECTS)
async def test_an_assured_answer_shows_no_break(shared: Sidecar, client: str, fault: str) -> None:
    """The second backend says something else, and that is all that the client hears."""
    async with AsyncExitStack() as stack:
        p = await stack.enter_async_context(strict(client))
        f = await stack.enter_async_context(strict(client))
        p.go_on.set()
        targets = [
            {"backend": "p", "model": model_of(p, fault)},
            {"backend": "f", "model": model_of(f)},
        ]
        f.who = "Two"
        config: Config = {
            "backends": {"p": backend(p), "f": backend(f)},
            "routes": {"chat": {"targets": targets, "delivery": "assured"}},
        }
        sidecar = await stack.enter_async_context(shared.playing(config))
        made = CLIENTS[client](sidecar.base_url, "k")
        stack.push_async_callback(made.close)
        answer = await made.ask(Ask("chat", True, "hi", system="a tester"))
        assert (answer.text, answer.stop) == (model.usual("Two", "a tester", "hi"), Stop.END)


SIGNS = {
    OPENAI: b": keepalive\n\n",
    RESPONSES: b": keepalive\n\n",
    ANTHROPIC: b'event: ping\ndata: {"type":"ping"}\n\n',
    "ollama": b'"content":""},"done":false}\n',
}


def early_heads(shared: Sidecar) -> Config:
    """Listeners that do not wait long to show that they live."""
    return {
        "data": {"port": shared.data_port, "keepalive": "50ms", "commit_after": "100ms"},
        "admin": {"port": shared.admin_port},
        "control": {"socket": str(shared.socket)},
    }


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("delivery", ["live", "assured"])
async def test_a_client_that_waits_hears_signs_of_life_and_then_its_answer(
    shared: Sidecar, client: str, delivery: str
) -> None:
    """The head comes early, failover goes on behind it, and the SDK reads the answer."""
    async with AsyncExitStack() as stack:
        p, f = Backend("p", rest=b.silent), await stack.enter_async_context(strict(client))
        await stack.enter_async_context(p)
        targets = [
            {"backend": "p", "model": "x", "first_token": "500ms"},
            {"backend": "f", "model": model_of(f)},
        ]
        config: Config = {
            "listeners": early_heads(shared),
            "backends": {
                "p": {"dialect": client, "base_url": f"http://127.0.0.1:{p.port}"},
                "f": backend(f),
            },
            "routes": {"chat": {"targets": targets, "delivery": delivery}},
        }
        sidecar = await stack.enter_async_context(shared.playing(config))
        got = await sidecar.ask(chat(client, stream=True), PATHS[client])
        assert got.status == 200
        assert got.raw.count(SIGNS[client]) >= 2
        assert not got.raw.rstrip().endswith(SIGNS[client].rstrip())
        made = CLIENTS[client](sidecar.base_url, "k")
        stack.push_async_callback(made.close)
        answer = await made.ask(Ask("chat", True, "hi", system="a tester"))
        assert answer.text == model.usual(client, "a tester", "hi")


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_failure_behind_an_early_head_is_told_in_band(shared: Sidecar, client: str) -> None:
    target = {"backend": "p", "model": "x", "first_token": "500ms"}
    async with Backend("p", rest=b.silent) as p:
        config: Config = {
            "listeners": early_heads(shared),
            "backends": {"p": {"dialect": client, "base_url": f"http://127.0.0.1:{p.port}"}},
            "routes": {"chat": {"targets": [target]}},
        }
        async with shared.playing(config) as sidecar:
            made = CLIENTS[client](sidecar.base_url, "k")
            with pytest.raises(Failed) as caught:
                await made.ask(Ask("chat", True, "hi"))
            await made.close()
            metrics = await sidecar.idle()
            assert metrics.value("requests_total", route="chat", outcome="timeout") == 1
    assert caught.value.why in (Why.IN_STREAM, Why.SERVER)
    if client != RESPONSES:  # its SDK hands the event on and complains of the missing end
        assert "sent no token within 0.5 s" in str(caught.value.cause)
