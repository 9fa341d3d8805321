"""Errors in both directions."""

from typing import Any

import pytest

from sidecar.dialects.anthropic_messages.errors import decode_error, decode_event, encode_error
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire import json

K = ProblemKind


def error(type: str, message: str, **more: Any) -> bytes:
    return json.dumps({"type": "error", "error": {"type": type, "message": message, **more}})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error("invalid_request_error", "messages: roles must alternate"), K.BAD_REQUEST),
        (400, error("invalid_request_error", "prompt is too long: 9 > 8"), K.CONTEXT_LENGTH),
        (401, error("authentication_error", "invalid x-api-key"), K.BACKEND_AUTH),
        (402, error("billing_error", "no credit"), K.BACKEND_AUTH),
        (403, error("permission_error", "no"), K.BACKEND_AUTH),
        (404, error("not_found_error", "model: claude-nope"), K.UNKNOWN_MODEL),
        (413, error("request_too_large", "Request exceeds the maximum size"), K.CONTEXT_LENGTH),
        (429, error("rate_limit_error", "slow down"), K.RATE_LIMITED),
        (500, error("api_error", "Internal server error"), K.BACKEND_ERROR),
        (504, error("timeout_error", "late"), K.BACKEND_ERROR),
        (529, error("overloaded_error", "Overloaded"), K.OVERLOADED),
        (502, b"<html><body>Bad gateway</body></html>", K.BACKEND_ERROR),
        (500, b"", K.BACKEND_ERROR),
    ],
)
def test_a_backends_error(status: int, body: bytes, kind: ProblemKind) -> None:
    problem = decode_error(status, body)
    assert (problem.kind, problem.status) == (kind, status)
    assert str(status) in problem.message


@pytest.mark.parametrize(
    ("status", "words", "refused"),
    [
        (400, "messages.1.content.0: Invalid `signature` in `thinking` block", "signed_thinking"),
        (400, "messages.3.content.0: Invalid signature in thinking block", "signed_thinking"),
        (
            400,
            "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be "
            "modified",
            "signed_thinking",
        ),
        (
            400,
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
            "`tool_use`. When `thinking` is enabled, a final `assistant` message must start with a "
            "thinking block",
            "signed_thinking",
        ),
        (400, "adaptive thinking is not supported on this model", "thinking"),
        (400, "This model does not support the effort parameter.", "thinking"),
        (400, "`temperature` is deprecated for this model.", "sampling"),
        (400, "`temperature` and `top_p` cannot both be specified for this model.", "sampling"),
        (400, "`temperature` may only be set to 1 when thinking is enabled.", "sampling"),
        (400, "`top_k` must be unset when thinking is enabled.", "sampling"),
        (400, "temperature: Input should be less than or equal to 1", None),
        (400, "thinking.budget_tokens: must be at least 1024", None),
        (500, "Invalid `signature` in `thinking` block", None),
    ],
)
def test_a_feature_that_was_refused(status: int, words: str, refused: str | None) -> None:
    problem = decode_error(status, error("invalid_request_error", words))
    assert (problem.kind is K.UNSUPPORTED) is (refused is not None)
    assert problem.param == refused


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (error("overloaded_error", "Overloaded"), K.OVERLOADED),
        (error("rate_limit_error", "x"), K.RATE_LIMITED),
        (error("api_error", "x"), K.BACKEND_ERROR),
        (error("invalid_request_error", "x"), K.PROTOCOL),
        (error("never_heard_of", "x"), K.PROTOCOL),
        (b'"x"', K.PROTOCOL),
        (b"oh", K.PROTOCOL),
    ],
)
def test_an_error_in_a_stream(data: bytes, kind: ProblemKind) -> None:
    problem = decode_event(data)
    assert (problem.kind, problem.status, problem.quotes) == (kind, None, True)


@pytest.mark.parametrize(
    ("kind", "status", "type"),
    [
        (K.BAD_REQUEST, 400, "invalid_request_error"),
        (K.CANNOT_TRANSLATE, 400, "invalid_request_error"),
        (K.CLIENT_AUTH, 401, "authentication_error"),
        (K.FORBIDDEN, 403, "permission_error"),
        (K.UNKNOWN_MODEL, 404, "not_found_error"),
        (K.TOO_LARGE, 413, "request_too_large"),
        (K.RATE_LIMITED, 429, "rate_limit_error"),
        (K.INTERNAL, 500, "api_error"),
        (K.BACKEND_ERROR, 502, "api_error"),
        (K.UNAVAILABLE, 503, "overloaded_error"),
        (K.TIMEOUT, 504, "timeout_error"),
        (K.LOOP, 508, "api_error"),
        (K.OVERLOADED, 529, "overloaded_error"),
    ],
)
def test_a_problem_for_a_client(kind: ProblemKind, status: int, type: str) -> None:
    found, body = encode_error(Problem(kind, "Oh.", param="model", extension={"request_id": "r"}))
    assert found == status
    told = json.loads(body)
    assert told["type"] == "error"
    assert told["error"].pop("code")
    assert told["error"] == {
        "type": type, "message": "Oh.", "param": "model", "sidecar": {"request_id": "r"},
    }  # fmt: skip


def test_a_status_of_its_own() -> None:
    status, body = encode_error(Problem(K.BACKEND_ERROR, "Oh.", status=409))
    assert (status, json.loads(body)["error"]["type"]) == (409, "invalid_request_error")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("The context is full.", "prompt is too long: The context is full."),
        ("Prompt is too long: 9 > 8", "Prompt is too long: 9 > 8"),
    ],
)
def test_clients_learn_that_they_must_shorten(words: str, expected: str) -> None:
    _, body = encode_error(Problem(K.CONTEXT_LENGTH, words))
    assert json.loads(body)["error"]["message"] == expected
