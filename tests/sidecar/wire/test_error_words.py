"""What the errors of backends mean, by rows of real words."""

import pytest

from sidecar.neutral.problem import ProblemKind
from sidecar.wire.error_words import kind_of, text_of


@pytest.mark.parametrize(
    ("status", "code", "words", "kind"),
    [
        (400, "context_length_exceeded", "", ProblemKind.CONTEXT_LENGTH),
        (400, "invalid_request_error", "prompt is too long: 9 > 8", ProblemKind.CONTEXT_LENGTH),
        (
            400,
            "",
            "This model's maximum context length is 8192 tokens.",
            ProblemKind.CONTEXT_LENGTH,
        ),
        (400, "", "input length exceeds the context length", ProblemKind.CONTEXT_LENGTH),
        (413, "", "Request too large for this backend", ProblemKind.CONTEXT_LENGTH),
        (422, "", "maximum context length", ProblemKind.BAD_REQUEST),
        (400, "content_filter", "", ProblemKind.CONTENT_REFUSED),
        (403, "", "blocked by our content policy", ProblemKind.CONTENT_REFUSED),
        (400, "model_not_found", "", ProblemKind.UNKNOWN_MODEL),
        (404, "not_found_error", "model: claude-9", ProblemKind.UNKNOWN_MODEL),
        (400, "", "The model `x` does not exist", ProblemKind.UNKNOWN_MODEL),
        (400, "", "Incorrect API key provided", ProblemKind.BACKEND_AUTH),
        (401, "authentication_error", "invalid x-api-key", ProblemKind.BACKEND_AUTH),
        (402, "billing_error", "", ProblemKind.BACKEND_AUTH),
        (403, "", "", ProblemKind.BACKEND_AUTH),
        (408, "", "", ProblemKind.TIMEOUT),
        (429, "rate_limit_error", "", ProblemKind.RATE_LIMITED),
        (503, "", "server busy", ProblemKind.OVERLOADED),
        (529, "overloaded_error", "Overloaded", ProblemKind.OVERLOADED),
        (508, "", "", ProblemKind.LOOP),
        (500, "context_length_exceeded", "context length", ProblemKind.BACKEND_ERROR),
        (500, "", "", ProblemKind.BACKEND_ERROR),
        (418, "", "I am a teapot", ProblemKind.BAD_REQUEST),
    ],
)
def test_kind_of(status: int, code: str, words: str, kind: ProblemKind) -> None:
    assert kind_of(status, {code} if code else set(), words) is kind


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"plain\n words ", "plain words"),
        (b"<html><h1>502</h1> Bad\tGateway</html>", "502 Bad Gateway"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (b"x" * 5000, "x" * 200),
        (b"<" * 5000, "<" * 200),
    ],
)
def test_text_of(body: bytes, text: str) -> None:
    assert text_of(body) == text
