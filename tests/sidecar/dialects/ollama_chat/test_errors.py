"""Errors in both directions."""

import pytest

from sidecar.dialects.ollama_chat.errors import decode_error, disguised, encode_error, fail_stream
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire import json

K = ProblemKind


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (400, "model is required", K.BAD_REQUEST),
        (400, '"qwen3" does not support thinking', K.UNSUPPORTED),
        (400, 'think value "high" is not supported for this model', K.UNSUPPORTED),
        (400, "registry.ollama.ai/library/phi:latest does not support tools", K.CANNOT_TRANSLATE),
        (400, '"nomic-embed-text" does not support chat', K.CANNOT_TRANSLATE),
        (
            400,
            "the prompt is longer than the context length currently available to the model",
            K.CONTEXT_LENGTH,
        ),
        (400, "request (9000 tokens) exceeds the available context size", K.CONTEXT_LENGTH),
        (400, "the input length exceeds the context length", K.CONTEXT_LENGTH),
        (401, "unauthorized", K.BACKEND_AUTH),
        (403, "ollama cloud is disabled", K.BACKEND_AUTH),
        (404, 'model "qwen3" not found, try pulling it first', K.UNKNOWN_MODEL),
        (404, "model 'qwen3' not found", K.UNKNOWN_MODEL),
        (429, "you have reached your hourly usage limit", K.RATE_LIMITED),
        (499, "request canceled", K.BACKEND_ERROR),
        (500, "model runner has unexpectedly stopped", K.BACKEND_ERROR),
        (502, "upstream error", K.BACKEND_ERROR),
        (
            503,
            "server busy, please try again.  maximum pending requests exceeded",
            K.OVERLOADED,
        ),
    ],
)
def test_what_a_backend_means(status: int, words: str, kind: ProblemKind) -> None:
    problem = decode_error(status, json.dumps({"error": words}))
    assert problem.kind is kind
    assert problem.message == f"answered {status}: {words}"
    assert problem.status == status
    assert problem.quotes
    assert problem.param == ("thinking" if kind is K.UNSUPPORTED else None)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b"", "answered 500"),
        (404, b"404 page not found", "answered 404: 404 page not found"),
        (502, b"<html><h1>Bad</h1> gateway</html>", "answered 502: Bad gateway"),
        (500, b'{"error":{"message":"from the runner"}}', "answered 500: from the runner"),
        (
            401,
            b'{"error":"unauthorized","signin_url":"https://ollama.com/connect?name=x"}',
            "answered 401: unauthorized (sign in at https://ollama.com/connect?name=x)",
        ),
    ],
)
def test_errors_in_other_shapes(status: int, body: bytes, message: str) -> None:
    assert decode_error(status, body).message == message


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("an error was encountered while running the model", K.BACKEND_ERROR),
        ("request exceeds the available context size", K.CONTEXT_LENGTH),
        ('"qwen3" does not support thinking', K.UNSUPPORTED),
    ],
)
def test_an_error_under_status_200(words: str, kind: ProblemKind) -> None:
    problem = disguised({"error": words})
    assert problem is not None
    assert problem.kind is kind
    assert problem.message == f"answered 200 with an error inside: {words}"


@pytest.mark.parametrize("body", [{}, {"error": None}, {"error": ""}])
def test_no_error(body: dict[str, object]) -> None:
    assert disguised(body) is None


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (K.BAD_REQUEST, 400, "bad_request"),
        (K.CONTEXT_LENGTH, 400, "context_length_exceeded"),
        (K.CLIENT_AUTH, 401, "client_auth"),
        (K.UNKNOWN_MODEL, 404, "model_not_found"),
        (K.CLIENT_GONE, 499, "client_gone"),
        (K.RATE_LIMITED, 429, "rate_limited"),
        (K.INTERNAL, 500, "internal"),
        (K.BACKEND_ERROR, 502, "backend_error"),
        (K.OVERLOADED, 503, "overloaded"),
    ],
)
def test_what_a_client_gets(kind: ProblemKind, status: int, code: str) -> None:
    found, body = encode_error(Problem(kind, "No.", extension={"request_id": "r"}))
    assert found == status
    assert json.loads(body) == {"error": "No.", "code": code, "sidecar": {"request_id": "r"}}


def test_a_problem_may_bring_its_own_status_and_code() -> None:
    problem = Problem(K.BAD_REQUEST, "No.", status=422, code="odd")
    assert encode_error(problem) == (422, b'{"error":"No.","code":"odd"}')
    assert fail_stream(problem) == b'{"error":"No.","code":"odd"}\n'
