"""Reading a request far enough to route it, and splicing."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.dialects.openai_responses import DIALECT
from sidecar.neutral.problem import ProblemKind, RequestRefused
from sidecar.wire import json
from sidecar.wire.contract import Feature, Operation, RequestLimits, RequestPatch

LIMITS = RequestLimits(body=10_000, messages=3, content=100, header=1000)


def facts(body: object) -> Any:
    return DIALECT.facts(Operation.CHAT, body, LIMITS)


@pytest.mark.parametrize(
    "body",
    [
        {"input": "Grüezi"},
        {"input": [{"role": "user", "content": "Grüezi"}]},
        {"previous_response_id": "resp_1"},  # what a relay does not read, it does not refuse
        {"prompt": {"id": "pmpt_1"}, "input": []},
    ],
)
def test_facts(body: dict[str, object]) -> None:
    told = facts({**body, "model": "small", "stream": True})
    assert (told.model, told.stream, told.wants_usage, told.choices) == ("small", True, True, 1)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ([], None, "a list"),
        ({"model": 7, "input": "a"}, "model", "a number"),
        ({"stream": "yes", "input": "a"}, "stream", "a string"),
        ({}, "input", "missing or empty"),
        ({"input": ""}, "input", "missing or empty"),
        ({"input": 7}, "input", "a number"),
        ({"input": [7, {}]}, "input[0]", "a number"),
        ({"input": [{}, "a"]}, "input[1]", "a string"),
        ({"input": [{}] * 4}, "input", "4 messages"),
        ({"input": [{"type": "message"}] * 4}, "input", "4 messages"),
        ({"input": "x" * 101}, "input[0]", "larger than 100 bytes"),
        (
            {"input": [{}, {"type": "function_call_output", "output": "x" * 101}]},
            "input[1]",
            "larger than 100 bytes",
        ),
    ],
)
def test_what_cannot_be_routed_is_refused_by_name(body: object, param: str, words: str) -> None:
    with pytest.raises(RequestRefused) as refusal:
        facts(body)
    assert refusal.value.problem.param == param
    assert words in refusal.value.problem.message


def test_what_an_agent_does_within_a_turn_is_no_message() -> None:
    """Reasoning, a call and its result: with a limit of three messages there can be many."""
    kinds = ("reasoning", "function_call", "function_call_output")
    rounds = [{"type": kind} for kind in kinds] * 400
    limits = replace(LIMITS, content=100_000)
    DIALECT.facts(Operation.CHAT, {"input": [{"role": "user"}, *rounds]}, limits)


def test_a_count_is_no_stream() -> None:
    told = DIALECT.facts(Operation.COUNT, {"input": "a", "stream": True}, LIMITS)
    assert (told.operation, told.stream) == (Operation.COUNT, False)


def test_too_much_content_is_too_large() -> None:
    with pytest.raises(RequestRefused) as refusal:
        facts({"input": "x" * 101})
    assert refusal.value.problem.kind is ProblemKind.TOO_LARGE


# --- splicing -------------------------------------------------------------------------------------

OWN = b'{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}'
MARKED = b'{"type":"reasoning","id":"rs_2","encrypted_content":"llm-sidecar.anthropic.c2ln"}'
CALL = b'{"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "1e5"}'
NAMELESS = b'{"type":"function_call","call_id":"c","name":"f","arguments":"1e5"}'
NO_SIGNED = frozenset({Feature.SIGNED_THINKING})


@pytest.mark.parametrize(
    ("raw", "wanted", "patched"),
    [
        (b'{"input": 1e5}', RequestPatch(), b'{"input": 1e5}'),
        (b'{"input": 1e5}', RequestPatch("big"), b'{"model":"big","input": 1e5}'),
        (b'{"model" : "a", "n":1.10}', RequestPatch("big"), b'{"model" : "big", "n":1.10}'),
        (b'{"input": "a"}', RequestPatch(ask_usage=True), b'{"input": "a"}'),
        (b'{"input":[' + OWN + b"," + CALL + b"]}", RequestPatch(), None),
        (
            b'{"n":1e5,"input":[ ' + MARKED + b" , " + CALL + b" ]}",
            RequestPatch(),
            b'{"n":1e5,"input":[ ' + NAMELESS + b" ]}",
        ),
        (
            b'{"input":[' + OWN + b"," + CALL + b"," + MARKED + b"]}",
            RequestPatch(),
            b'{"input":[' + OWN + b"," + NAMELESS + b"]}",
        ),
        (
            b'{"input":[' + OWN + b"," + CALL + b"]}",
            RequestPatch(without=NO_SIGNED),
            b'{"input":[' + NAMELESS + b"]}",
        ),
        (b'{"input":[' + CALL + b"]}", RequestPatch(without=NO_SIGNED), None),
        (b'{"input":"llm-sidecar. is a name"}', RequestPatch(), None),
        (
            b'{"input":"a","reasoning":{"effort":"low"},"include":["reasoning.encrypted_content","b"]}',
            RequestPatch(without=frozenset({Feature.THINKING})),
            b'{"input":"a","reasoning":null,"include":["b"]}',
        ),
        (
            b'{"input":"a","include":[ "b" ]}',
            RequestPatch(without=frozenset({Feature.THINKING})),
            None,
        ),
    ],
)
def test_only_what_must_change_is_changed(
    raw: bytes, wanted: RequestPatch, patched: bytes | None
) -> None:
    assert DIALECT.patch(raw, wanted) == (raw if patched is None else patched)
    json.loads(DIALECT.patch(raw, wanted))
