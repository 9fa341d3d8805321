"""Requests that are relayed: what is read of them, and which bytes change."""

from typing import Any

import pytest

from sidecar.dialects.anthropic_messages.request import facts, patch
from sidecar.neutral.problem import ProblemKind, RequestRefused
from sidecar.wire import json
from sidecar.wire.contract import Feature, Operation, RequestFacts, RequestLimits, RequestPatch

CHAT, COUNT = Operation.CHAT, Operation.COUNT
LIMITS = RequestLimits(body=10_000, messages=3, content=100, header=65_536)
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        (CHAT, {}, RequestFacts(CHAT, wants_usage=True)),
        (CHAT, {"model": "m", "stream": True}, RequestFacts(CHAT, "m", True, True)),
        (COUNT, {"model": "m", "stream": True}, RequestFacts(COUNT, "m", False, True)),
    ],
)
def test_facts(operation: Operation, body: dict[str, Any], expected: RequestFacts) -> None:
    assert facts(operation, {"messages": HELLO} | body, LIMITS) == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "not_an_object"),
        ({"messages": HELLO, "model": 4}, "invalid_model"),
        ({"messages": HELLO, "stream": 1}, "invalid_stream"),
        ({}, "empty_messages"),
        ({"messages": HELLO * 4}, "too_many_messages"),
        ({"messages": [{"role": "user", "content": "x" * 101}]}, "content_too_large"),
    ],
)
def test_refusals(body: object, code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        facts(CHAT, body, LIMITS)
    assert caught.value.problem.code == code
    assert caught.value.problem.kind in (ProblemKind.BAD_REQUEST, ProblemKind.TOO_LARGE)


# --- patch ----------------------------------------------------------------------------------------

BARE = RequestPatch(without=frozenset({Feature.SIGNED_THINKING}))
OURS = b'{"type":"thinking", "thinking":"t", "signature":"llm-sidecar.openai."}'
THEIRS = b'{ "type":"thinking","thinking":"t","signature":"Eq1e5" }'
REDACTED = b'{"type":"redacted_thinking","data":"llm-sidecar.openai-responses.x"}'
TEXT = b'{"type":"text", "text":"1e5 [,] {"}'
CALL = b'{"type":"tool_use","id":"t","name":"f","input":{"n": 1e5}}'
USER = b'{"role":"user","content":"llm-sidecar."}'


def turn(*blocks: bytes) -> bytes:
    return b'{"role":"assistant","content":[' + b", ".join(blocks) + b"]}"


def body(*messages: bytes, more: bytes = b"") -> bytes:
    return b'{"messages": [' + b" , ".join(messages) + b"]" + more + b', "n": 1.10}'


@pytest.mark.parametrize(
    ("raw", "wanted", "expected"),
    [
        pytest.param(
            b'{"model":"a","n":1e5}', RequestPatch("b"), b'{"model":"b","n":1e5}', id="a model"
        ),
        pytest.param(b'{"n":1}', RequestPatch("b"), b'{"model":"b","n":1}', id="no model yet"),
        pytest.param(body(USER), RequestPatch(), body(USER), id="words that look like a mark"),
        pytest.param(
            body(USER, turn(OURS, TEXT)), RequestPatch(), body(USER, turn(TEXT)), id="ours, first"
        ),
        pytest.param(
            body(turn(TEXT, REDACTED, CALL), USER),
            RequestPatch("b"),
            b'{"model":"b",'
            + body(turn(TEXT, CALL), USER).removeprefix(b"{").replace(b", {", b",{", 1),
            id="ours, in the middle",
        ),
        pytest.param(
            body(turn(TEXT, OURS)), RequestPatch(), body(turn(TEXT)), id="ours, at the end"
        ),
        pytest.param(
            body(turn(THEIRS, OURS, TEXT)),
            RequestPatch(),
            body(turn(THEIRS, TEXT)).replace(b" }, {", b" },{"),
            id="the vendor's own stays",
        ),
        pytest.param(body(turn(THEIRS, TEXT)), BARE, body(turn(TEXT)), id="unless it was refused"),
        pytest.param(
            body(USER, turn(THEIRS, REDACTED), USER),
            BARE,
            body(USER, USER).replace(b" , ", b","),
            id="a turn that only thought",
        ),
        pytest.param(
            body(turn(OURS, CALL), USER, more=b',"thinking":{"type":"enabled","budget_tokens":1}'),
            RequestPatch(),
            body(turn(CALL), USER, more=b',"thinking":{"type":"disabled"}'),
            id="calls without the thinking before them",
        ),
        pytest.param(
            body(turn(CALL), USER, more=b',"thinking":{"type":"enabled","budget_tokens":1}'),
            BARE,
            body(turn(CALL), USER, more=b',"thinking":{"type":"disabled"}'),
            id="calls that never had any, of a model that asked for it",
        ),
        pytest.param(
            body(turn(OURS, CALL), USER, more=b',"thinking":{"type":"adaptive"}'),
            RequestPatch(),
            body(turn(CALL), USER, more=b',"thinking":{"type":"adaptive"}'),
            id="a newer model does not ask for it",
        ),
    ],
)
def test_patch(raw: bytes, wanted: RequestPatch, expected: bytes) -> None:
    assert patch(raw, wanted) == expected
    assert json.loads(expected)


@pytest.mark.parametrize("wanted", [RequestPatch(), RequestPatch(ask_usage=True), BARE])
def test_what_needs_no_change_stays_the_very_same(wanted: RequestPatch) -> None:
    raw = body(USER, turn(TEXT, CALL)).replace(b"llm-sidecar.", b"hello")
    assert patch(raw, wanted) is raw
