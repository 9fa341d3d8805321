"""What is read of a request before it is routed, and what is spliced into it."""

from typing import Any

import pytest

from sidecar.dialects.ollama_chat.request import facts, patch
from sidecar.neutral.problem import ProblemKind, RequestRefused
from sidecar.wire.contract import Feature, Operation, RequestFacts, RequestLimits, RequestPatch

LIMITS = RequestLimits(body=1000, messages=3, content=20, header=1000)
CHAT, COMPLETION = Operation.CHAT, Operation.COMPLETION
EMBED, SHOW = Operation.EMBED, Operation.SHOW


@pytest.mark.parametrize(
    ("operation", "body", "model", "stream"),
    [
        (CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}]}, "m", True),
        (CHAT, {"model": "m", "messages": [{}], "stream": None}, "m", True),
        (CHAT, {"model": "m", "messages": [{}], "stream": False}, "m", False),
        (CHAT, {"model": "m", "messages": []}, "m", True),
        (CHAT, {"model": "m"}, "m", True),
        (CHAT, {}, None, True),
        (COMPLETION, {"model": "m", "prompt": "x"}, "m", True),
        (COMPLETION, {"model": "m", "prompt": "x", "stream": False}, "m", False),
        (COMPLETION, {"model": "m"}, "m", True),
        (EMBED, {"model": "m", "input": ["x"]}, "m", False),
        (EMBED, {"model": "m", "prompt": "x"}, "m", False),
        (SHOW, {"model": "m"}, "m", False),
        (SHOW, {"name": "m"}, "m", False),
        (SHOW, {"model": "m", "name": "n"}, "m", False),
    ],
)
def test_facts(operation: Operation, body: Any, model: str | None, stream: bool) -> None:
    wanted = RequestFacts(operation, model=model, stream=stream, wants_usage=True)
    assert facts(operation, body, LIMITS) == wanted


@pytest.mark.parametrize(
    ("operation", "body", "param"),
    [
        (CHAT, [], None),
        (CHAT, {"model": 3}, "model"),
        (SHOW, {"name": 3}, "name"),
        (CHAT, {"messages": [{}], "stream": "yes"}, "stream"),
        (CHAT, {"messages": "hello"}, "messages"),
        (CHAT, {"messages": ["hello"]}, "messages[0]"),
        (CHAT, {"messages": [{}] * 4}, "messages"),
    ],
)
def test_a_refusal_names_the_field(operation: Operation, body: Any, param: str | None) -> None:
    with pytest.raises(RequestRefused) as refused:
        facts(operation, body, LIMITS)
    assert refused.value.problem.kind is ProblemKind.BAD_REQUEST
    assert refused.value.problem.param == param


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (CHAT, {"messages": [{"content": "x" * 21}]}),
        (COMPLETION, {"prompt": "x" * 21}),
        (COMPLETION, {"prompt": "x" * 11, "system": "x" * 10}),
    ],
)
def test_too_much_text_is_refused(operation: Operation, body: Any) -> None:
    with pytest.raises(RequestRefused) as refused:
        facts(operation, body, LIMITS)
    assert refused.value.problem.kind is ProblemKind.TOO_LARGE


WITHOUT_THINKING = frozenset({Feature.THINKING})


@pytest.mark.parametrize(
    ("raw", "wanted", "patched"),
    [
        (b'{"model": "a", "t": 1e5}', RequestPatch(model="b"), b'{"model": "b", "t": 1e5}'),
        (b'{"name": "a"}', RequestPatch(model="b"), b'{"model":"b","name": "a"}'),
        (b"{}", RequestPatch(model="b"), b'{"model":"b"}'),
        (b'{"think": true }', RequestPatch(without=WITHOUT_THINKING), b'{"think": null }'),
        (
            b'{"think":"high","model":"a"}',
            RequestPatch(model="b", without=WITHOUT_THINKING),
            b'{"think":null,"model":"b"}',
        ),
    ],
)
def test_a_patch_changes_nothing_else(raw: bytes, wanted: RequestPatch, patched: bytes) -> None:
    assert patch(raw, wanted) == patched


def test_what_needs_no_patch_is_the_very_same() -> None:
    raw = b'{"model": "a", "messages": []}'
    others = RequestPatch(ask_usage=True, without=frozenset({Feature.SIGNED_THINKING}))
    assert patch(raw, RequestPatch()) is raw
    assert patch(raw, others) is raw
    assert patch(raw, RequestPatch(without=WITHOUT_THINKING)) is raw
