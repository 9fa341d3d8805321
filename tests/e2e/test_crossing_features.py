"""What a crossing does beyond carrying words: leaving out what a backend refuses, keeping proofs,
names and ids, verifying what a backend was only asked to give, and saying no to what is not safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.client import Got
from tests.e2e.crossing import (
    ANTHROPIC,
    BOTH,
    DIALECTS,
    OLLAMA,
    OPENAI,
    RESPONSES,
    Fakes,
    World,
    chat,
    fault,
    route,
    says,
    then,
    world,
)
from tests.e2e.harness import Config
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen
from tests.fakes.strict import model

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASSISTANT, USER = "assistant", "user"


def thinkers(fakes: Fakes) -> Config:
    """Routes `think-<dialect>`, to models that can."""
    return {f"think-{name}": route(fake, scenarios=["thinking"]) for name, fake in fakes.items()}


def older(fakes: Fakes) -> Config:
    """Routes to older models of Anthropic, by their names."""
    return {
        name: {"targets": [{"backend": ANTHROPIC, "model": f"{name}:text"}]}
        for name in ("claude-sonnet-4-5", "claude-3-haiku")
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("features")
    async with world(folder, lambda fakes: thinkers(fakes) | older(fakes)) as standing:
        yield standing


@pytest.fixture(autouse=True)
def themselves(world: World) -> None:
    """Each test begins with backends that have no script."""
    for fake in world.backends.values():
        fake.script = []


def tool(client: str, name: str) -> Config:
    """One tool, as a client offers it."""
    match client:
        case "anthropic":
            return {"name": name, "input_schema": SCHEMA}
        case "openai-responses":
            return {"type": "function", "name": name, "parameters": SCHEMA}
        case _:
            return {"type": "function", "function": {"name": name, "parameters": SCHEMA}}


def calls(client: str, got: Got) -> Sequence[tuple[str, str]]:
    """Ids and names of the tool calls in a whole answer."""
    told: Any = got.json
    match client:
        case "anthropic":
            return [(one["id"], one["name"]) for one in told["content"] if "name" in one]
        case "openai-responses":
            return [(one["call_id"], one["name"]) for one in told["output"] if "name" in one]
        case "ollama":
            made = told["message"]["tool_calls"]
        case _:
            made = told["choices"][0]["message"]["tool_calls"]
    return [(one["id"], one["function"]["name"]) for one in made]


def words(client: str, got: Got) -> str:
    """The text of a whole answer."""
    told: Any = got.json
    match client:
        case "anthropic":
            return "".join(one.get("text", "") for one in told["content"])
        case "openai-responses":
            items = [one for one in told["output"] if one["type"] == "message"]
            return "".join(part["text"] for one in items for part in one["content"])
        case "ollama":
            return str(told["message"]["content"])
        case _:
            return str(told["choices"][0]["message"]["content"])


# --- what a backend refuses is left out ------------------------------------------------------

BAD_SIGNATURE = "messages.1.content.0: Invalid `signature` in `thinking` block"
FOREIGN = [
    {"role": USER, "content": "hi"},
    {
        "role": ASSISTANT,
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "Zm9yZWlnbg=="},
            {"type": "text", "text": "hello"},
        ],
    },
    {"role": USER, "content": "and?"},
]


@pytest.mark.parametrize("stream", BOTH)
async def test_thinking_with_a_refused_signature_is_left_out(world: World, stream: bool) -> None:
    fake = world.backends[ANTHROPIC]
    before = len(fake.requests)
    body = {**chat(ANTHROPIC, stream=stream), "messages": FOREIGN}
    got = await world.ask(ANTHROPIC, "to-anthropic", body)
    assert (got.status, got.headers["x-sidecar-attempts"]) == (200, "2")
    assert got.headers["x-sidecar-losses"] == "thinking"
    first, second = fake.requests[before:]
    assert b"Zm9yZWlnbg==" in first.body
    assert b"thinking" not in second.body
    assert second.json["messages"] == [
        FOREIGN[0],
        {"role": ASSISTANT, "content": [{"type": "text", "text": "hello"}]},
        FOREIGN[2],
    ]


async def test_a_signature_that_is_refused_on_and_on_is_the_clients_error(world: World) -> None:
    fake = world.backends[ANTHROPIC]
    before = len(fake.requests)
    then(fake, *[says(400, fake.vendor.error(400, BAD_SIGNATURE))] * 5)
    got = await world.ask(ANTHROPIC, "to-anthropic", {**chat(ANTHROPIC), "messages": FOREIGN})
    assert got.status == 400
    assert BAD_SIGNATURE in got.message
    assert len(fake.requests) == before + 2


async def test_a_model_that_misses_its_thinking_is_asked_again_without(world: World) -> None:
    fake = world.backends[ANTHROPIC]
    before = len(fake.requests)
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "21"}
    turns = [
        FOREIGN[0],
        {"role": ASSISTANT, "content": [call]},
        {"role": USER, "content": [result]},
    ]
    asks: Config = {
        **chat(ANTHROPIC),
        "max_tokens": 2000,
        "messages": turns,
        "tools": [tool(ANTHROPIC, "weather")],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    got = await world.ask(ANTHROPIC, "claude-sonnet-4-5", asks)
    assert (got.status, got.headers["x-sidecar-attempts"]) == (200, "2"), got.raw
    assert got.headers["x-sidecar-losses"] == "thinking"
    first, second = fake.requests[before:]
    assert first.json["thinking"] == asks["thinking"]
    assert second.json["thinking"] == {"type": "disabled"}
    assert second.json["messages"] == turns


THINKS: Mapping[str, Config] = {
    OPENAI: {"reasoning_effort": "high"},
    RESPONSES: {"reasoning": {"effort": "high"}},
    ANTHROPIC: {"thinking": {"type": "adaptive"}},
    OLLAMA: {"think": True},
}


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_model_that_cannot_think_is_asked_again_without(
    world: World, client: str, stream: bool
) -> None:
    fake = world.backends[OLLAMA]
    before = len(fake.requests)
    got = await world.ask(client, "to-ollama", {**chat(client, stream=stream), **THINKS[client]})
    assert (got.status, got.headers["x-sidecar-attempts"]) == (200, "2")
    first, second = fake.requests[before:]
    assert first.json["think"]
    assert second.json.get("think") is None


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_server_that_refuses_stream_options_is_asked_again_without(
    world: World, client: str
) -> None:
    fake = world.backends[OPENAI]
    before = len(fake.requests)
    refusal = fake.vendor.error(400, "Unrecognized request argument supplied: stream_options")
    then(fake, says(400, refusal))
    got = await world.ask(client, "to-openai", chat(client, stream=True))
    assert (got.status, got.headers["x-sidecar-attempts"]) == (200, "2")
    first, second = fake.requests[before:]
    assert "stream_options" in first.json
    assert "stream_options" not in second.json


TOO_LARGE = (
    "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context "
    "length is 32768 tokens and your request has 12000 input tokens (32000 > 32768 - 12000)."
)


async def test_a_bound_that_is_larger_than_the_room_is_left_out(world: World) -> None:
    fake = world.backends[OPENAI]
    before = len(fake.requests)
    then(fake, says(400, fake.vendor.error(400, TOO_LARGE)))
    got = await world.ask(ANTHROPIC, "to-openai", {**chat(ANTHROPIC), "max_tokens": 32_000})
    assert (got.status, got.headers["x-sidecar-attempts"]) == (200, "2")
    assert got.headers["x-sidecar-losses"] == "max_tokens"
    first, second = fake.requests[before:]
    assert first.json["max_tokens"] == 32_000
    assert "max_tokens" not in second.json


async def test_a_relayed_bound_that_is_larger_than_the_room_is_refused(world: World) -> None:
    fake = world.backends[OPENAI]
    before = len(fake.requests)
    then(fake, says(400, fake.vendor.error(400, TOO_LARGE)))
    got = await world.ask(OPENAI, "to-openai", {**chat(OPENAI), "max_tokens": 32_000})
    assert (got.status, got.message) == (400, TOO_LARGE)
    assert len(fake.requests) == before + 1


# --- proofs, names and ids -------------------------------------------------------------------


@pytest.mark.parametrize("other", [OPENAI, OLLAMA, RESPONSES])
async def test_what_others_thought_never_reaches_anthropic(world: World, other: str) -> None:
    """Nor does it cost a try; what Anthropic has signed itself stays, byte for byte."""
    asks = {**chat(ANTHROPIC), "thinking": {"type": "adaptive", "display": "summarized"}}
    foreign: Any = (await world.ask(ANTHROPIC, f"think-{other}", asks)).json["content"]
    own: Any = (await world.ask(ANTHROPIC, "think-anthropic", asks)).json["content"]
    for content in (foreign, own):
        assert content[0]["type"] == "thinking"
        assert content[0]["thinking"] == model.THOUGHT
        assert content[0]["signature"]
    question = {"role": USER, "content": "hi"}
    turns = [question, {"role": ASSISTANT, "content": foreign}]
    turns += [question, {"role": ASSISTANT, "content": own}, question]
    got = await world.ask(ANTHROPIC, "think-anthropic", {**asks, "messages": turns})
    assert (got.status, got.headers["x-sidecar-attempts"]) == (200, "1")
    assert got.headers["x-sidecar-losses"] == "thinking"
    reached: Any = world.backends[ANTHROPIC].requests[-1].json["messages"]
    assert reached[1]["content"] == foreign[1:]
    assert reached[3]["content"] == own


LONG = "a_tool_with_a_name_that_is_much_longer_than_most_vendors_like_" + "x" * 60
SHORT_NAMES = [
    (client, to) for client in DIALECTS for to in (OPENAI, OLLAMA, RESPONSES) if client != to
]


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize(("client", "to"), SHORT_NAMES)
async def test_a_long_name_of_a_tool_comes_back_whole(
    world: World, client: str, to: str, stream: bool
) -> None:
    body = chat(client, stream=stream, tools=[tool(client, LONG), tool(client, LONG + "y")])
    got = await world.ask(client, f"to-{to}", body)
    assert got.status == 200, got.raw
    seen = world.backends[to].requests[-1]
    names = set(re.findall(rb'"name":"([^"]+)"', seen.body))
    assert len(names) == 2
    assert all(len(name) <= 64 for name in names)
    assert not any(name in got.raw for name in names)
    assert f'"{LONG}"'.encode() in got.raw


ODD_ID = "functions.weather:0"


async def test_an_odd_id_is_safe_for_an_anthropic_client_and_comes_back_as_it_was(
    world: World,
) -> None:
    fake = world.backends[OPENAI]
    function = {"name": "weather", "arguments": '{"city":"Bern"}'}
    call = {"id": ODD_ID, "type": "function", "function": function}
    message = {"role": ASSISTANT, "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    then(fake, says(200, {"id": "chatcmpl-1", "model": "kimi", "choices": [choice]}))
    asks = {**chat(ANTHROPIC), "tools": [tool(ANTHROPIC, "weather")]}
    got = await world.ask(ANTHROPIC, "to-openai", asks)
    [(id, name)] = calls(ANTHROPIC, got)
    assert (name, bool(re.fullmatch("[a-zA-Z0-9_-]+", id))) == ("weather", True)
    result = {"type": "tool_result", "tool_use_id": id, "content": "21"}
    turns: Any = asks["messages"]
    turns = [
        *turns,
        {"role": ASSISTANT, "content": got.json["content"]},
        {"role": USER, "content": [result]},
    ]
    got = await world.ask(ANTHROPIC, "to-openai", {**asks, "messages": turns})
    assert words(ANTHROPIC, got) == "openai got weather: 21"
    reached: Any = fake.requests[-1].json["messages"]
    assert reached[1]["tool_calls"][0]["id"] == ODD_ID
    assert reached[2]["tool_call_id"] == ODD_ID


@pytest.mark.parametrize("id", ["", "again"])
@pytest.mark.parametrize("to", [ANTHROPIC, OLLAMA, RESPONSES])
async def test_calls_without_ids_of_their_own_get_some(world: World, to: str, id: str) -> None:
    turns: list[Config] = [spoken(USER, "hi")]
    for _ in range(2):
        call = {"id": id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        turns.append({"role": ASSISTANT, "content": None, "tool_calls": [call, call]})
        turns += [{"role": "tool", "tool_call_id": id, "content": told} for told in ("21", "22")]
    body = {**chat(OPENAI, tools=[tool(OPENAI, "weather")]), "messages": turns}
    got = await world.ask(OPENAI, f"to-{to}", body)
    assert got.status == 200, got.raw
    assert words(OPENAI, got).startswith(f"{to} got weather: 21; weather: 22")


async def test_a_call_that_a_user_makes_is_refused(world: World) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    got = await world.ask(ANTHROPIC, "to-openai", chat(ANTHROPIC, [call]))
    assert got.status == 400
    assert "messages[0].content[0]" in got.message


# --- older models of Anthropic take what newer ones refuse -------------------------------------


@pytest.mark.parametrize(
    ("to", "more", "reached", "losses"),
    [
        ("claude-sonnet-4-5", {"temperature": 0.5}, {"temperature": 0.5}, None),
        ("to-anthropic", {"temperature": 0.5}, {"temperature": None}, "temperature"),
        ("claude-3-haiku", {"max_tokens": 60_000}, {"max_tokens": 4096}, "max_tokens"),
        ("to-anthropic", {"max_tokens": 60_000}, {"max_tokens": 60_000}, None),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "low", "max_tokens": 8000},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            None,
        ),
        ("claude-3-haiku", {"reasoning_effort": "low"}, {"thinking": None}, "thinking"),
    ],
)
async def test_a_request_is_fitted_to_the_age_of_a_model(
    world: World, to: str, more: Config, reached: Config, losses: str | None
) -> None:
    got = await world.ask(OPENAI, to, {**chat(OPENAI), **more})
    assert (got.status, got.headers.get("x-sidecar-losses")) == (200, losses), got.raw
    sent = world.backends[ANTHROPIC].requests[-1].json
    assert {name: sent.get(name) for name in reached} == reached


@pytest.mark.parametrize(("to", "losses"), [("claude-3-haiku", None), ("to-anthropic", "prefill")])
async def test_an_answer_that_is_begun_is_continued_by_older_models(
    world: World, to: str, losses: str | None
) -> None:
    turns = [spoken(USER, "hi"), spoken(ASSISTANT, "Well, ")]
    got = await world.ask(OPENAI, to, {**chat(OPENAI), "messages": turns})
    assert (got.status, got.headers.get("x-sidecar-losses")) == (200, losses), got.raw
    sent: Any = world.backends[ANTHROPIC].requests[-1].json["messages"]
    assert (sent[-1] == spoken(ASSISTANT, "Well,")) is (losses is None)


# --- what a backend is only asked to give is verified ----------------------------------------

MUST_CALL: Mapping[str, object] = {
    OPENAI: "required",
    RESPONSES: "required",
    ANTHROPIC: {"type": "any"},
}
MUST_CALL_WEATHER: Mapping[str, object] = {
    OPENAI: {"type": "function", "function": {"name": "weather"}},
    RESPONSES: {"type": "function", "name": "weather"},
    ANTHROPIC: {"type": "tool", "name": "weather"},
}


def idle(seen: Seen) -> b.Steps:
    """Ollama talks instead of calling a tool."""
    message = {"role": ASSISTANT, "content": "I would rather talk."}
    told = {"model": "m", "created_at": "2026-11-20T22:00:00Z", "message": message, "done": True}
    return b.whole(200, json.dumps({**told, "done_reason": "stop"}).encode())


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize("choices", [MUST_CALL, MUST_CALL_WEATHER], ids=["any", "named"])
@pytest.mark.parametrize("client", [OPENAI, RESPONSES, ANTHROPIC])
async def test_a_forced_tool_choice_on_ollama_is_verified(
    world: World, client: str, choices: Mapping[str, object], stream: bool
) -> None:
    fake = world.backends[OLLAMA]
    before = len(fake.requests)
    then(fake, idle)
    offered = [tool(client, "weather"), tool(client, "clock")]
    body = chat(client, stream=stream, tools=offered, tool_choice=choices[client])
    got = await world.ask(client, "to-ollama", body)
    assert got.status == 200, got.raw
    assert len(fake.requests) == before + 2
    assert b"rather talk" not in got.raw
    assert b'"weather"' in got.raw
    if not stream:
        assert [name for _, name in calls(client, got)] == ["weather"]


async def test_a_model_that_never_calls_the_tool_is_an_error(world: World) -> None:
    then(world.backends[OLLAMA], *[idle] * 5)
    body = chat(OPENAI, tools=[tool(OPENAI, "weather")], tool_choice="required")
    got = await world.ask(OPENAI, "to-ollama", body)
    assert got.status == 502
    assert "did not call a tool" in got.message


JSON_OBJECT: Mapping[str, Config] = {
    OPENAI: {"response_format": {"type": "json_object"}},
    RESPONSES: {"text": {"format": {"type": "json_object"}}},
    OLLAMA: {"format": "json"},
}


def message(text: str) -> Config:
    """A whole answer of Anthropic's."""
    head: Config = {"id": "msg_1", "type": "message", "role": ASSISTANT, "model": "m"}
    end: Config = {"stop_reason": "end_turn", "stop_sequence": None}
    usage = {"input_tokens": 1, "output_tokens": 1}
    return {**head, "content": [{"type": "text", "text": text}], **end, "usage": usage}


@pytest.mark.parametrize("second", ['{"a": 1}', 'Sure:\n```json\n{"a": 1}\n```\nBye.'])
@pytest.mark.parametrize("client", JSON_OBJECT)
async def test_json_of_anthropic_is_verified(world: World, client: str, second: str) -> None:
    fake = world.backends[ANTHROPIC]
    before = len(fake.requests)
    then(fake, says(200, message("Here you are: {a}")), says(200, message(second)))
    body = {**chat(client, "Answer in JSON."), **JSON_OBJECT[client]}
    got = await world.ask(client, "to-anthropic", body)
    assert got.status == 200, got.raw
    assert json.loads(words(client, got)) == {"a": 1}
    assert len(fake.requests) == before + 2


# --- conversations that another vendor would not take as they are ------------------------------


def spoken(role: str, text: str) -> Config:
    return {"role": role, "content": text}


ODD_TALKS: Mapping[str, Sequence[Config]] = {
    "the system alone": [spoken("system", "be polite")],
    "the assistant alone": [spoken(ASSISTANT, "hello")],
    "the assistant first": [spoken(ASSISTANT, "hello"), spoken(USER, "hi")],
    "two of one role": [spoken(USER, "hi"), spoken(USER, "and")],
    "nothing said": [spoken(USER, "")],
    "a blank": [spoken(USER, "  ")],
    "a late system prompt": [spoken(USER, "hi"), spoken(ASSISTANT, "a"), spoken("system", "b")],
}


@pytest.mark.parametrize("talk", ODD_TALKS.values(), ids=ODD_TALKS)
@pytest.mark.parametrize(("client", "to"), list(permutations(DIALECTS, 2)))
async def test_odd_talks(world: World, client: str, to: str, talk: Sequence[Config]) -> None:
    told = "input" if client == RESPONSES else "messages"
    got = await world.ask(client, f"to-{to}", {**chat(client), told: list(talk)})
    assert got.status == 200, got.raw
    assert words(client, got).startswith(f"{to} heard ")


# --- loading a model, fetching an image ------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"messages": []}),
        ("/api/chat", {}),
        ("/api/generate", {"prompt": ""}),
        ("/api/generate", {"keep_alive": "10m"}),
    ],
)
@pytest.mark.parametrize("to", [OPENAI, RESPONSES, ANTHROPIC])
async def test_a_client_that_only_loads_a_model(
    world: World, to: str, path: str, body: Config
) -> None:
    before = len(world.backends[to].requests)
    got = await world.sidecar.ask({"model": f"to-{to}", **body}, path)
    assert (got.status, got.json["done"], got.json["done_reason"]) == (200, True, "load")
    assert got.json["message" if path == "/api/chat" else "response"] in (
        "",
        {"role": ASSISTANT, "content": ""},
    )
    assert len(world.backends[to].requests) == before


def pointing_at(client: str, url: str) -> Config:
    match client:
        case "anthropic":
            return {"type": "image", "source": {"type": "url", "url": url}}
        case "openai-responses":
            return {"type": "input_image", "image_url": url}
        case _:
            return {"type": "image_url", "image_url": {"url": url}}


async def test_an_image_on_loopback_is_never_fetched(tmp_path: Path) -> None:
    async with Backend() as victim, world(tmp_path, fetch_images=True) as standing:
        for client in (OPENAI, RESPONSES, ANTHROPIC):
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"):
                url = f"http://{host}:{victim.port}/secret.png"
                body = chat(client, [pointing_at(client, url)])
                got = await standing.ask(client, "to-ollama", body)
                assert got.status == 400
                _, told = fault(client, got)
                assert "could not be fetched" in told
                assert "secret" not in told
        assert victim.connections == 0
        assert not standing.backends[OLLAMA].requests
