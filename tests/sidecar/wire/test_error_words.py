"""What the errors of backends mean, by rows of real words."""

import pytest

from sidecar.neutral.problem import Overflow, ProblemKind
from sidecar.wire.error_words import (
    answered,
    clipped,
    codes_in,
    error_in,
    kind_of,
    overflow_in,
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
        (
            500,
            "",
            "llama runner process has terminated: exit status 2",
            ProblemKind.MODEL_FAILED,
        ),
        (500, "", "llama runner process no longer running: 2", ProblemKind.MODEL_FAILED),
        (
            500,
            "",
            "timed out waiting for llama runner to start: context canceled",
            ProblemKind.MODEL_FAILED,
        ),
        (
            500,
            "api_error",
            "model requires more system memory (5.5 GiB) than is available (3.1 GiB)",
            ProblemKind.MODEL_FAILED,
        ),
        (500, "", "unable to load model: /models/blobs/sha256-1", ProblemKind.MODEL_FAILED),
        (400, "", 'Failed to load model "x". Error: no room', ProblemKind.MODEL_FAILED),
        (503, "", "failed to load model", ProblemKind.MODEL_FAILED),
        (503, "", "Loading model", ProblemKind.OVERLOADED),
        (404, "", "failed to load model", ProblemKind.UNKNOWN_MODEL),
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


# --- the numbers of an overlong request ----------------------------------------------------------

MAXIMUM = "This model's maximum context length is"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            f"{MAXIMUM} 8192 tokens. However, you requested 9012 tokens (8012 in the messages, "
            "1000 "
            "in the completion). Please reduce the length of the messages or completion.",
            Overflow(8192, 9012, 1000, 820),
        ),
        (
            f"{MAXIMUM} 4097 tokens, however you requested 6539 tokens (6283 in your prompt; "
            "256 for "
            "the completion). Please reduce your prompt; or completion length.",
            Overflow(4097, 6539, 256, 2442),
        ),
        (
            f"{MAXIMUM} 128000 tokens. However, your messages resulted in 204308 tokens. Please "
            "reduce the length of the messages.",
            Overflow(128000, 204308, None, 76308),
        ),
        (
            "This endpoint's maximum context length is 131072 tokens. However, you requested about "
            "138956 tokens (7884 of text input, 131072 in the output).",
            Overflow(131072, 138956, 131072, 7884),
        ),
        (
            f"{MAXIMUM} 2048 tokens. However, your request has 2100 input tokens. Please "
            "reduce the "
            "length of the input messages.",
            Overflow(2048, 2100, None, 52),
        ),
        (
            f"{MAXIMUM} 4096 tokens. However, you requested 1000 output tokens and your prompt "
            "contains at least 3097 input tokens, for a total of at least 4097 tokens.",
            Overflow(4096, 4097, 1000, 1),
        ),
        (
            "This model's maximum prompt length is 500000 but the request contains 907154 tokens.",
            Overflow(500000, 907154, None, 407154),
        ),
        (
            "prompt is too long: 202128 tokens > 200000 maximum",
            Overflow(200000, 202128, None, 2128),
        ),
        (
            "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease "
            "input length or `max_tokens` and try again",
            Overflow(200000, 207951, 8192, 7951),
        ),
        (
            "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 "
            "maximum "
            "context length",
            Overflow(32768, 40000, None, 7232),
        ),
        (
            "The input token count (2845475) exceeds the maximum number of tokens allowed "
            "(1048576).",
            Overflow(1048576, 2845475, None, 1796899),
        ),
        (
            "request (1407 tokens) exceeds the available context size (256 tokens), try "
            "increasing it",
            Overflow(256, 1407, None, 1151),
        ),
        ("Requested tokens (516) exceed context window of 512", Overflow(512, 516, None, 4)),
        (
            "The input (160062 tokens) is longer than the model's context length (59862 tokens).",
            Overflow(59862, 160062, None, 100200),
        ),
        (
            "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, "
            "204800]",
            Overflow(204800),
        ),
        (
            "prompt token count of 130,000 exceeds the limit of 128,000",
            Overflow(128000, 130000, None, 2000),
        ),
        (
            "Please reduce the length of the messages or completion. Current length is 42328 while "
            "limit is 40000",
            Overflow(40000, 42328, None, 2328),
        ),
        (
            "Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)",
            Overflow(8192, 9000, None, 808),
        ),
        (
            "However, the model is loaded with context length of only 4096 tokens",
            Overflow(4096),
        ),
        (
            "prompt too long; exceeded max context length by 1234 tokens",
            Overflow(excess=1234),
        ),
        ("Please reduce the length of the messages or completion.", None),
        ("Your input exceeds the context window of this model.", None),
        ("input length exceeds the context length", None),
    ],
)
def test_the_numbers_of_an_overlong_request(words: str, told: Overflow | None) -> None:
    assert overflow_in(ProblemKind.CONTEXT_LENGTH, {}, words) == told


def test_numbers_may_stand_in_fields() -> None:
    error = {"message": "the request exceeds", "n_prompt_tokens": 1407, "n_ctx": 256}
    told = overflow_in(ProblemKind.CONTEXT_LENGTH, error, "the request exceeds")
    assert told == Overflow(256, 1407, None, 1151)
    assert (
        overflow_in(ProblemKind.CONTEXT_LENGTH, {"n_ctx": True, "n_prompt_tokens": "9"}, "") is None
    )


def test_other_problems_have_no_such_numbers() -> None:
    words = "prompt is too long: 9 tokens > 8 maximum"
    assert overflow_in(ProblemKind.RATE_LIMITED, {}, words) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("as it is", "as it is"),
        ("one two three", "one two ..."),
        ("onetwothree", "..."),
        ("\u957f" * 20, "\u957f" * 10 + " ..."),
        ("\u957f\u957fsk-12345678", "\u957f\u957f ..."),
    ],
)
def test_no_word_is_cut(text: str, told: str) -> None:
    assert clipped(text, 10) == told
