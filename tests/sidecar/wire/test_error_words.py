"""What the errors of backends mean, by rows of real words."""

import pytest

from sidecar.neutral.problem import ProblemKind
from sidecar.wire.error_words import (
    answered,
    codes_in,
    error_in,
    kind_of,
    refuses_effort,
    refuses_sampling,
    tells_of_bound,
    text_of,
    words_in,
)

VLLM_BOUND = (
    "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context "
    "length is 32768 tokens and your request has 12000 input tokens (32000 > 32768 - 12000)."
)
GROQ_BOUND = (
    "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less "
    "than the `context_window` for this model"
)


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
        (400, "BadRequestError", VLLM_BOUND, ProblemKind.BAD_REQUEST),
        (400, "invalid_request_error", GROQ_BOUND, ProblemKind.BAD_REQUEST),
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
    ("words", "tells"),
    [
        (VLLM_BOUND, True),
        (GROQ_BOUND, True),
        ("max_tokens is too large: 99999. This model supports at most 16384 tokens", True),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", True),
        ("This model's maximum context length is 8192 tokens.", False),
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", False),
        ("input length and `max_tokens` exceed context limit: 9 + 9 > 10", False),
        ("", False),
    ],
)
def test_tells_of_bound(words: str, tells: bool) -> None:
    assert tells_of_bound(words) is tells


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"plain\n words ", "plain words"),
        (b"<html><h1>502</h1> Bad\tGateway</html>", "502 Bad Gateway"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (b"x" * 5000, "..."),
        (b"<" * 5000, "..."),
        (b"word " * 1000, "word " * 40 + "..."),
    ],
)
def test_text_of(body: bytes, text: str) -> None:
    assert text_of(body) == text


@pytest.mark.parametrize(
    ("body", "words", "codes"),
    [
        (b'{"error": {"message": "no", "code": "A", "type": "b"}}', "no", {"a", "b"}),
        (b'{"error": {"message": "no", "code": 429}}', "no", {"429"}),
        (b'{"message": "no", "type": null}', "no", set()),
        (b'{"error": "no"}', "no", set()),
        (b'{"detail": "no"}', "no", set()),
        (b'{"detail": [{"msg": "no"}]}', "", set()),
        (b'[{"error": {"message": "no"}}]', "no", set()),
        (b"[]", "", set()),
        (b"no", "", set()),
    ],
)
def test_an_error_in_a_body(body: bytes, words: str, codes: set[str]) -> None:
    error = error_in(body)
    assert (words_in(error), codes_in(error)) == (words, codes)


def test_words_are_few() -> None:
    assert words_in({"message": "x " * 5000}) == "x " * 150 + "..."


def test_what_was_answered() -> None:
    assert (answered(500, "no"), answered(500, "")) == ("answered 500: no", "answered 500")


@pytest.mark.parametrize(
    ("words", "is_meant"),
    [
        ("Unsupported parameter: 'top_p' is not supported with this model.", True),
        ("Unrecognized request argument supplied: top_k", True),
        ("this model has beta-limitations: temperature, top_p and n are fixed at 1", True),
        ("`temperature` is deprecated for this model.", True),
        ("temperature must be between 0 and 2", False),
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", False),
    ],
)
def test_whether_sampling_is_refused(words: str, is_meant: bool) -> None:
    assert refuses_sampling(words) is is_meant


@pytest.mark.parametrize(
    ("words", "is_meant"),
    [
        ("'reasoning_effort' does not support 'minimal' with this model.", True),
        ("Unsupported value: 'xhigh' is not supported with the 'o3' model.", True),
        ("Invalid value: 'max'. Supported values are: 'low', 'medium', and 'high'.", True),
        ("Input should be 'low' or 'high', 'input': 'max'", True),
        ("'reasoning_effort' does not support 'none' with this model: 'minimal', 'low'", False),
        ("Unrecognized request argument supplied: reasoning_effort", False),
    ],
)
def test_whether_an_effort_is_refused_that_only_some_models_know(
    words: str, is_meant: bool
) -> None:
    assert refuses_effort(words) is is_meant
