"""A request decoded once and encoded once for each target."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.config.snapshot import Backend, Quirks, UsageInStream
from sidecar.dataplane.translate import Translated, Translation
from sidecar.neutral.problem import RequestRefused
from sidecar.neutral.request import ChatRequest, Image, Inline, Loss, Message, Severity
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Feature, Operation, Traits
from tests.sidecar.dataplane.crossings import ANTHROPIC, OLLAMA, OPENAI, RESPONSES
from tests.sidecar.dataplane.script import candidate, inbound
from tests.sidecar.examples import backend

LONG = "a_tool_of_a_server_that_names_its_tools_after_all_of_their_circumstances"
DOTTED = "files.read"
ANY = {"type": "object", "properties": {}}


def translation(dialect: Dialect = OPENAI, **body: Any) -> Translation:
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | body
    stream = asked.get("stream") is True
    return Translation(inbound(json.dumps(asked), dialect=dialect, stream=stream))


def home(dialect: Dialect, **changes: Any) -> Backend:
    return backend("home", dialect=dialect, **changes)


def into(one: Translation, dialect: Dialect, *without: Feature, **changes: Any) -> Translated:
    return one.into(candidate(), home(dialect, **changes), 7, frozenset(without))


def offers(*names: str) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "parameters": ANY}} for name in names]


# --- names of tools -------------------------------------------------------------------------------


def test_names_that_a_backend_would_refuse_are_shortened_everywhere() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": LONG, "arguments": "{}"}}
    one = translation(
        tools=offers(LONG, "fine"),
        tool_choice={"type": "function", "function": {"name": LONG}},
        messages=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
        ],
    )
    found = into(one, RESPONSES)
    (short,) = found.original
    assert found.original == {short: LONG}
    assert len(short) <= RESPONSES.longest_tool_name
    sent: Any = found.encoded.body
    assert [tool["name"] for tool in sent["tools"]] == [short, "fine"]
    assert sent["tool_choice"]["name"] == short
    assert LONG not in json.dumps(sent).decode()


def test_a_name_is_as_long_as_the_backend_takes_it() -> None:
    one = translation(tools=offers(LONG))
    assert into(one, ANTHROPIC).original == {}
    assert into(one, OLLAMA).original != {}


def test_a_tool_that_was_called_and_is_not_offered_any_more_is_shortened_too() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": DOTTED, "arguments": "{}"}}
    turns = [{"role": "assistant", "tool_calls": [call]}, {"role": "user", "content": "Go on"}]
    found = into(translation(messages=[{"role": "user", "content": "Hi"}, *turns]), ANTHROPIC)
    assert list(found.original.values()) == [DOTTED]
    assert DOTTED not in json.dumps(found.encoded.body).decode()


# --- losses ---------------------------------------------------------------------------------------


def test_losses_of_both_sides_are_told_once() -> None:
    one = translation(logprobs=True, seed=1, frequency_penalty=1.0)
    losses = into(one, ANTHROPIC).losses
    fields = [loss.field for loss in losses]
    assert {"logprobs", "seed"} <= set(fields)
    assert len(losses) == len({(loss.field, loss.severity) for loss in losses})


def test_a_loss_that_client_and_backend_both_name_is_one() -> None:
    lost, worse = Loss("seed", Severity.COSMETIC), Loss("seed", Severity.SEMANTIC)

    def unheard(operation: object, body: object) -> ChatRequest:
        return replace(OPENAI.decode_request(operation, body), unheard=(lost, worse, lost))  # type: ignore[arg-type]

    client = replace(OPENAI, decode_request=unheard)
    losses = into(translation(client, seed=1), ANTHROPIC).losses
    assert [loss for loss in losses if loss.field == "seed"] == [lost, worse]


@pytest.mark.parametrize(
    ("body", "dialect", "loses"),
    [
        pytest.param({}, ANTHROPIC, False, id="nothing"),
        pytest.param({"seed": 1}, ANTHROPIC, False, id="what changes no meaning"),
        pytest.param({"n": 2}, ANTHROPIC, True, id="what does"),
        pytest.param({"n": 2}, OPENAI, False, id="nothing in the client's own dialect"),
        pytest.param({"temperature": "hot"}, ANTHROPIC, True, id="what cannot even be read"),
        pytest.param({"temperature": "hot"}, OPENAI, False, id="which its own dialect may take"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
            ANTHROPIC,
            True,
            id="what cannot be sent at all",
        ),
    ],
)
def test_who_loses_something_of_the_meaning(
    body: dict[str, Any], dialect: Dialect, loses: bool
) -> None:
    assert translation(**body).loses(candidate(), home(dialect), 7) is loses


# --- once for each target -------------------------------------------------------------------------


def counting(dialect: Dialect) -> tuple[Dialect, list[Any]]:
    """The dialect, and the targets for which it is asked to encode."""
    targets: list[Any] = []

    def encode(request: ChatRequest, target: Any) -> Any:
        targets.append(target)
        return dialect.encode_request(request, target)

    return replace(dialect, encode_request=encode), targets


def test_the_same_target_is_encoded_once() -> None:
    dialect, targets = counting(ANTHROPIC)
    one = translation()
    first = into(one, dialect)
    assert into(one, dialect) is first
    assert not one.loses(candidate(), home(dialect), 7)
    assert len(targets) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"quirks": Quirks(usage_in_stream=UsageInStream.ALWAYS)}, id="usage"),
        pytest.param({"traits": Traits(more_sampling=True)}, id="traits"),
    ],
)
def test_a_backend_that_reads_its_dialect_otherwise_is_another_target(
    changes: dict[str, Any],
) -> None:
    one = translation(ANTHROPIC, stream=True, max_tokens=5, top_k=3)
    assert into(one, OPENAI).encoded.body != into(one, OPENAI, **changes).encoded.body


def test_so_is_a_model_or_what_it_can_write_or_what_is_left_out() -> None:
    one, aside = translation(reasoning_effort="high", max_tokens=9000), frozenset[Feature]()
    there = home(OLLAMA)
    usual = candidate()
    sent = [
        one.into(usual, there, 7, aside),
        one.into(replace(usual, model="other"), there, 7, aside),
        one.into(replace(usual, context=4096), there, 7, aside),
        one.into(replace(usual, max_output=100), there, 7, aside),
        one.into(usual, there, 70_000, aside),
        one.into(usual, there, 7, frozenset({Feature.THINKING})),
    ]
    bodies = [json.dumps(each.encoded.body) for each in sent]
    assert len(set(bodies)) == len(bodies)


def test_what_must_be_verified_is_encoded_whole() -> None:
    one = translation(stream=True, tools=offers("f"), tool_choice="required")
    found = into(one, OLLAMA)
    assert found.encoded.expects is not None
    assert found.encoded.body["stream"] is False
    assert into(translation(stream=True), OLLAMA).encoded.body["stream"] is True


# --- images and refusals --------------------------------------------------------------------------


def looks_at(url: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    return {"messages": [{"role": "user", "content": parts}]}


def test_images_that_were_fetched_take_the_place_of_their_addresses() -> None:
    one = translation(**looks_at("https://example.org/a.png"))
    pointed, before = one.points_to_images, into(one, OLLAMA)
    assert any(loss.severity is Severity.FATAL for loss in before.losses)
    (turn,) = one.request.messages
    here = Message(turn.role, (Image(Inline("image/png", "AAAA")),))
    one.inline(replace(one.request, messages=(here,)))
    assert (pointed, one.points_to_images) == (True, False)
    found = into(one, OLLAMA)
    assert found.losses == ()
    sent: Any = found.encoded.body
    assert sent["messages"][0]["images"] == ["AAAA"]


def test_an_address_in_the_result_of_a_tool_counts() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [picture]}
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    turns = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    one = translation(ANTHROPIC, max_tokens=5, messages=[{"role": "user", "content": "Hi"}, *turns])
    assert one.points_to_images
    assert not translation(ANTHROPIC, max_tokens=5).points_to_images


def test_what_cannot_be_read_is_refused_only_where_it_must_be_read() -> None:
    one = translation(temperature="hot")
    assert not one.is_understood and not one.points_to_images
    with pytest.raises(RequestRefused, match="temperature"):
        _ = one.request


@pytest.mark.parametrize(
    ("body", "says_nothing"),
    [
        ({"messages": []}, True),
        ({"messages": None}, True),
        ({"messages": [{"role": "user", "content": "Hi"}]}, False),
    ],
)
def test_a_client_of_ollama_may_only_want_a_model_loaded(
    body: dict[str, Any], says_nothing: bool
) -> None:
    assert translation(OLLAMA, **body).says_nothing is says_nothing


@pytest.mark.parametrize(
    ("raw", "says_nothing"),
    [
        (b'{"model":"m"}', True),
        (b'{"model":"m","prompt":""}', True),
        (b'{"model":"m","prompt":"Hi"}', False),
        (b'{"model":"m","prompt":"","suffix":"x"}', False),
    ],
)
def test_so_may_one_that_completes(raw: bytes, says_nothing: bool) -> None:
    request = inbound(raw, dialect=OLLAMA, operation=Operation.COMPLETION, path="/api/generate")
    assert Translation(request).says_nothing is says_nothing
