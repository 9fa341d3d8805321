"""Requests: what is read of them, what is refused, and which bytes change."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.openai_chat.request import facts, patch
from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.wire import json, splice
from sidecar.wire.contract import Feature, Operation, RequestFacts, RequestLimits, RequestPatch
from tests.sidecar.wire.texts import json_objects

CHAT, COMPLETION, EMBED = Operation.CHAT, Operation.COMPLETION, Operation.EMBED
LIMITS = RequestLimits(body=10_000_000, messages=3, content=100, header=65_536)
HELLO = [{"role": "user", "content": "Hello"}]


def read(operation: Operation = CHAT, **body: Any) -> RequestFacts:
    return facts(operation, {"messages": HELLO, "input": "x"} | body, LIMITS)


def refusal(body: object, operation: Operation = CHAT) -> Problem:
    with pytest.raises(RequestRefused) as caught:
        facts(operation, body, LIMITS)
    return caught.value.problem


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (read(), RequestFacts(CHAT)),
        (read(model="m"), RequestFacts(CHAT, "m")),
        (read(model=""), RequestFacts(CHAT)),
        (read(model=None, stream=None), RequestFacts(CHAT)),
        (read(stream=True), RequestFacts(CHAT, stream=True)),
        (read(stream=False), RequestFacts(CHAT)),
        (
            read(stream=True, stream_options={"include_usage": True}),
            RequestFacts(CHAT, stream=True, wants_usage=True),
        ),
        (read(stream_options={"include_usage": False}), RequestFacts(CHAT)),
        (read(stream_options=None), RequestFacts(CHAT)),
        (read(stream_options="x"), RequestFacts(CHAT)),
        (read(COMPLETION, stream=True), RequestFacts(COMPLETION, stream=True)),
        (read(functions=[{"name": "f"}]), RequestFacts(CHAT, old_calls=True)),
        (read(functions=[{"name": "f"}], tools=[{}]), RequestFacts(CHAT)),
        (read(EMBED, model="e", stream=True), RequestFacts(EMBED, "e")),
        (read(EMBED, input=[1, 2]), RequestFacts(EMBED)),
    ],
)
def test_facts(found: RequestFacts, expected: RequestFacts) -> None:
    assert found == expected


def test_completions_need_no_messages() -> None:
    assert facts(COMPLETION, {"model": "m", "prompt": "x"}, LIMITS) == RequestFacts(COMPLETION, "m")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ([], "not_an_object", None),
        ("x", "not_an_object", None),
        (None, "not_an_object", None),
        (1.5, "not_an_object", None),
        ({"messages": HELLO, "model": 4}, "invalid_model", "model"),
        ({"messages": HELLO, "model": ["m"]}, "invalid_model", "model"),
        ({"messages": HELLO, "stream": "true"}, "invalid_stream", "stream"),
        ({"messages": HELLO, "stream": 1}, "invalid_stream", "stream"),
        ({}, "empty_messages", "messages"),
        ({"messages": None}, "empty_messages", "messages"),
        ({"messages": []}, "empty_messages", "messages"),
        ({"messages": {}}, "invalid_messages", "messages"),
        ({"messages": "hello"}, "invalid_messages", "messages"),
        ({"messages": [*HELLO, "hello"]}, "invalid_messages", "messages[1]"),
        ({"messages": [None]}, "invalid_messages", "messages[0]"),
        ({"messages": HELLO * 4}, "too_many_messages", "messages"),
    ],
)
def test_refusals_name_the_field(body: object, code: str, param: str | None) -> None:
    problem = refusal(body)
    assert (problem.kind, problem.code, problem.param) == (ProblemKind.BAD_REQUEST, code, param)
    assert problem.message.endswith(".")
    assert (param or "body") in problem.message


@pytest.mark.parametrize("body", [{}, {"input": None}, {"input": ""}, {"input": []}])
def test_embeddings_need_an_input(body: object) -> None:
    problem = refusal(body, EMBED)
    assert (problem.code, problem.param) == ("empty_input", "input")


@pytest.mark.parametrize(
    ("found", "said"),
    [(True, "a boolean"), (7, "a number"), ({}, "an object"), ([], "a list")],
)
def test_refusals_say_what_came_instead(found: object, said: str) -> None:
    assert refusal({"messages": HELLO, "model": found}).message.startswith(f"`model` is {said};")


def message(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        pytest.param([message("x" * 100)], None, id="at the limit"),
        pytest.param([message("x" * 101)], 0, id="past the limit"),
        pytest.param([message("x" * 60), message("x" * 41)], 1, id="together"),
        pytest.param([message("é" * 50)], None, id="bytes, at the limit"),
        pytest.param([message("é" * 51)], 0, id="bytes, not characters"),
        pytest.param([message("\ud800" * 34)], 0, id="lone surrogates have a size too"),
        pytest.param(
            [message([{"type": "text", "text": "x" * 100}])], 0, id="parts, all their texts"
        ),
        pytest.param(
            [message([{"type": "image_url", "image_url": {"url": "x" * 100}}])], 0, id="attachments"
        ),
        pytest.param([message(None), message(3), {"role": "user"}], None, id="no content"),
    ],
)
def test_content_is_measured_in_bytes(messages: list[object], place: int | None) -> None:
    if place is None:
        assert read(messages=messages) == RequestFacts(CHAT)
        return
    problem = refusal({"messages": messages})
    assert (problem.kind, problem.code, problem.param) == (
        ProblemKind.TOO_LARGE, "content_too_large", f"messages[{place}].content",
    )  # fmt: skip
    assert "larger than 100 bytes" in problem.message


def test_deeply_nested_content_is_measured_too() -> None:
    deep: object = "x" * 101
    for _ in range(100_000):
        deep = [deep]
    assert refusal({"messages": [message(deep)]}).code == "content_too_large"


# --- patch ----------------------------------------------------------------------------------------

MODEL = RequestPatch(model="new")
USAGE = RequestPatch(ask_usage=True)
BOTH = RequestPatch(model="new", ask_usage=True)


@pytest.mark.parametrize(
    ("raw", "wanted", "expected"),
    [
        (b'{"model":"old","n":1e5}', MODEL, b'{"model":"new","n":1e5}'),
        (b'{ "n" : 1.10 , "model" : "old" }', MODEL, b'{ "n" : 1.10 , "model" : "new" }'),
        (b'{"model":null}', MODEL, b'{"model":"new"}'),
        (b'{"model":"a","model":"b"}', MODEL, b'{"model":"new","model":"new"}'),
        (rb'{"\u006dodel":"a"}', MODEL, rb'{"\u006dodel":"new"}'),
        (b'{"a":{"model":"x"}}', MODEL, b'{"model":"new","a":{"model":"x"}}'),
        (b"{}", MODEL, b'{"model":"new"}'),
        (b"{}", BOTH, b'{"model":"new","stream_options":{"include_usage":true}}'),
        (b'{"a":1}', USAGE, b'{"stream_options":{"include_usage":true},"a":1}'),
        (
            b'{"a":1}',
            BOTH,
            b'{"model":"new","stream_options":{"include_usage":true},"a":1}',
        ),
        (b'{"stream_options":null}', USAGE, b'{"stream_options":{"include_usage":true}}'),
        (b'{"stream_options":{}}', USAGE, b'{"stream_options":{"include_usage":true}}'),
        (
            b'{"stream_options": { "x":1 }}',
            USAGE,
            b'{"stream_options": {"include_usage":true, "x":1 }}',
        ),
        (
            b'{"stream_options":{"x":{"include_usage":1},"include_usage":false}}',
            USAGE,
            b'{"stream_options":{"x":{"include_usage":1},"include_usage":true}}',
        ),
        (
            b'{"stream_options":{"include_usage":false,"include_usage":null}}',
            USAGE,
            b'{"stream_options":{"include_usage":true,"include_usage":true}}',
        ),
        (b'{"model":"}{\\""}', MODEL, b'{"model":"new"}'),
        (b'{"model":"a"}', RequestPatch(model='q"\xe9'), '{"model":"q\\"é"}'.encode()),
    ],
)
def test_patch(raw: bytes, wanted: RequestPatch, expected: bytes) -> None:
    assert patch(raw, wanted) == expected


def test_a_patch_that_wants_nothing_gives_the_very_same_bytes() -> None:
    raw = b'{"model": "m"}'
    assert patch(raw, RequestPatch()) is raw
    refused = frozenset({Feature.USAGE_IN_STREAM})
    assert patch(raw, RequestPatch(ask_usage=True, without=refused)) is raw


@given(json_objects(), st.sampled_from([MODEL, USAGE, BOTH]))
def test_a_patch_changes_what_it_should_and_nothing_else(raw: bytes, wanted: RequestPatch) -> None:
    before, patched = json.loads(raw), patch(raw, wanted)
    after = json.loads(patched)
    expected = dict(before)
    if wanted.model is not None:
        expected["model"] = "new"
    if wanted.ask_usage:
        options = before.get("stream_options")
        kept = options if isinstance(options, dict) else {}
        expected["stream_options"] = kept | {"include_usage": True}
    assert after == expected
    assert untouched(patched) == untouched(raw)


def untouched(raw: bytes) -> list[tuple[str, bytes]]:
    """The members that no patch may change, each as it was written."""
    found = splice.members(raw)
    return [
        (one.key, raw[one.start : one.end])
        for one in found
        if one.key not in ("model", "stream_options")
    ]


SIGNED = {"type": "reasoning.text", "text": "T", "signature": "llm-sidecar.anthropic.S", "index": 0}
THOUGHT = {"role": "assistant", "content": "a", "reasoning_content": "T"}


@pytest.mark.parametrize(
    ("message", "without", "kept"),
    [
        pytest.param(
            THOUGHT | {"reasoning_details": [SIGNED]},
            (),
            {"role", "content"},
            id="signed elsewhere",
        ),
        pytest.param(THOUGHT, (), set(THOUGHT), id="its own, as it came"),
        pytest.param(
            THOUGHT, (Feature.SIGNED_THINKING,), {"role", "content"}, id="what was refused before"
        ),
    ],
)
def test_thinking_that_a_backend_would_refuse_is_taken_out(
    message: dict[str, Any], without: tuple[Feature, ...], kept: set[str]
) -> None:
    raw = json.dumps({"messages": [{"role": "user", "content": "1e5"}, message], "seed": 1})
    patched = patch(raw, RequestPatch(without=frozenset(without)))
    assert set(json.loads(patched)["messages"][1]) == kept
    assert (patched == raw) is (kept == set(message))
    assert patched.startswith(raw[:40]) and patched.endswith(b'"seed":1}')
