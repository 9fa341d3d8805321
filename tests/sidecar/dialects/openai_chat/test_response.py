"""Whole answers: which are good, and what they cost."""

import pytest

from sidecar.dialects.openai_chat.response import judge, usage
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import Operation

CHAT, COMPLETION, EMBED = Operation.CHAT, Operation.COMPLETION, Operation.EMBED
K = ProblemKind


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (CHAT, {"choices": [{"message": {"content": "x"}}]}),
        (CHAT, {"choices": [{"message": {}}], "error": None}),
        (CHAT, {"choices": [{"message": {}}], "error": {}}),
        (COMPLETION, {"choices": [{"text": ""}]}),
        (EMBED, {"data": [{"embedding": "AAAA"}]}),
    ],
)
def test_good_answers(operation: Operation, body: object) -> None:
    assert judge(operation, body) is None


@pytest.mark.parametrize(
    ("operation", "body", "kind", "words"),
    [
        (CHAT, [], K.PROTOCOL, "not an object"),
        (CHAT, None, K.PROTOCOL, "not an object"),
        (CHAT, {}, K.PROTOCOL, "without `choices`"),
        (CHAT, {"choices": []}, K.PROTOCOL, "without `choices`"),
        (CHAT, {"choices": {}}, K.PROTOCOL, "without `choices`"),
        (CHAT, {"choices": [None]}, K.PROTOCOL, "not objects"),
        (CHAT, {"choices": [{}]}, K.PROTOCOL, "says nothing"),
        (
            CHAT,
            {"choices": [{"message": {"content": "half"}, "finish_reason": "error"}]},
            K.PROTOCOL,
            "inside a choice",
        ),
        (EMBED, {"choices": [{}]}, K.PROTOCOL, "without `data`"),
        (CHAT, {"error": {"message": "boom"}}, K.PROTOCOL, "error inside: boom"),
        (CHAT, {"error": "boom"}, K.PROTOCOL, "error inside: boom"),
        (CHAT, {"error": True}, K.PROTOCOL, "error inside: True"),
        (CHAT, {"object": "error", "message": "boom"}, K.PROTOCOL, "error inside: boom"),
        (CHAT, {"error": {"message": "slow down", "code": 429}}, K.RATE_LIMITED, "slow down"),
        (CHAT, {"error": {"message": "no", "code": 400}}, K.BAD_REQUEST, "no"),
        (CHAT, {"error": {"message": "sick", "code": 502}}, K.PROTOCOL, "sick"),
        (CHAT, {"error": {"message": "sick", "code": 7}}, K.PROTOCOL, "sick"),
        (CHAT, {"error": {"message": "x", "code": "content_filter"}}, K.CONTENT_REFUSED, "x"),
        (
            CHAT,
            {"choices": [{}], "error": {"message": "the context length is exceeded"}},
            K.CONTEXT_LENGTH,
            "context length",
        ),
    ],
)
def test_bad_answers(operation: Operation, body: object, kind: K, words: str) -> None:
    problem = judge(operation, body)
    assert problem is not None
    assert problem.kind is kind
    assert words in problem.message


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, None),
        ([], None),
        ({}, Usage(0, 0)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, Usage(3, 2)),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8, 0)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 16},
            },
            Usage(10, 20, 4, 16),
        ),
        (
            {"prompt_tokens": "3", "completion_tokens": -2, "prompt_tokens_details": []},
            Usage(0, 0),
        ),
    ],
)
def test_usage(told: object, expected: Usage | None) -> None:
    assert usage({"usage": told}) == expected


def test_an_answer_without_usage() -> None:
    assert usage({}) is None
