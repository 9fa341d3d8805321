"""Errors of backends, as their vendors document them, and ours in OpenAI's shape."""

from typing import Any

import pytest

from sidecar.dialects.openai_chat.errors import decode_error, encode_error, encode_event
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.framing import frame_data

K = ProblemKind


def openai(message: str, kind: str | None = None, code: object = None, **more: object) -> bytes:
    """OpenAI's envelope, which most vendors share."""
    error = {"message": message, "type": kind, "param": None, "code": code, **more}
    return json.dumps({"error": error})


def flat(message: object, kind: str, code: object = None) -> bytes:
    """The envelope of Mistral, and of vLLM before 0.10."""
    body = {"object": "error", "message": message, "type": kind, "param": None, "code": code}
    return json.dumps(body)


def google(code: int, message: str, status: str) -> bytes:
    """Gemini's OpenAI endpoint puts its errors in a list."""
    return json.dumps([{"error": {"code": code, "message": message, "status": status}}])


def row(vendor: str, status: int, body: bytes, kind: ProblemKind) -> Any:
    return pytest.param(status, body, kind, id=f"{vendor}: {status} {kind}")


VENDORS = [
    row(
        "OpenAI",
        401,
        openai("Incorrect API key provided: sk-x.", "invalid_request_error", "invalid_api_key"),
        K.BACKEND_AUTH,
    ),
    row(
        "OpenAI",
        429,
        openai(
            "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit "
            "30000, Used 29000, Requested 2000. Please try again in 2s.",
            "tokens",
            "rate_limit_exceeded",
        ),
        K.RATE_LIMITED,
    ),
    row(
        "OpenAI, quota",
        429,
        openai(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            "insufficient_quota",
        ),
        K.RATE_LIMITED,
    ),
    row(
        "OpenAI",
        400,
        openai(
            "This model's maximum context length is 128000 tokens. However, your messages resulted "
            "in 130000 tokens. Please reduce the length of the messages.",
            "invalid_request_error",
            "context_length_exceeded",
        ),
        K.CONTEXT_LENGTH,
    ),
    row(
        "OpenAI",
        404,
        openai(
            "The model `gpt-9` does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
        K.UNKNOWN_MODEL,
    ),
    row(
        "OpenAI, images",
        400,
        openai(
            "Your request was rejected as a result of our safety system.",
            "invalid_request_error",
            "content_policy_violation",
        ),
        K.CONTENT_REFUSED,
    ),
    row(
        "OpenAI, prompt",
        400,
        openai(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            "invalid_request_error",
            "invalid_prompt",
        ),
        K.CONTENT_REFUSED,
    ),
    row(
        "OpenAI",
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "invalid_request_error",
            "unsupported_parameter",
        ),
        K.BAD_REQUEST,
    ),
    row(
        "OpenAI, region",
        403,
        openai(
            "Country, region, or territory not supported",
            "request_forbidden",
            "unsupported_country_region_territory",
        ),
        K.BACKEND_AUTH,
    ),
    row(
        "OpenAI",
        500,
        openai("The server had an error while processing your request.", "server_error"),
        K.BACKEND_ERROR,
    ),
    row(
        "OpenAI",
        503,
        openai("The engine is currently overloaded, please try again later.", "server_error"),
        K.OVERLOADED,
    ),
    row(
        "Azure",
        401,
        openai("Access denied due to invalid subscription key or wrong API endpoint.", None, "401"),
        K.BACKEND_AUTH,
    ),
    row(
        "Azure",
        404,
        openai("The API deployment for this resource does not exist.", None, "DeploymentNotFound"),
        K.UNKNOWN_MODEL,
    ),
    row(
        "Azure",
        400,
        openai(
            "The response was filtered due to the prompt triggering Azure OpenAI's content "
            "management policy.",
            None,
            "content_filter",
            status=400,
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
        K.CONTENT_REFUSED,
    ),
    row(
        "Azure",
        429,
        openai(
            "Requests to the ChatCompletions_Create Operation have exceeded token rate limit of "
            "your current OpenAI S0 pricing tier. Please retry after 6 seconds.",
            None,
            "429",
        ),
        K.RATE_LIMITED,
    ),
    row("Azure", 408, openai("The operation was timeout.", "Timeout", "Timeout"), K.TIMEOUT),
    row(
        "vLLM",
        400,
        flat(
            "This model's maximum context length is 4096 tokens. However, you requested 5000 "
            "tokens (4000 in the messages, 1000 in the completion).",
            "BadRequestError",
            400,
        ),
        K.CONTEXT_LENGTH,
    ),
    row(
        "vLLM, engine",
        400,
        openai(
            "The decoder prompt (length 5001) is longer than the maximum model length of 4096.",
            "BadRequestError",
            400,
        ),
        K.CONTEXT_LENGTH,
    ),
    row(
        "vLLM",
        404,
        flat("The model `x` does not exist.", "NotFoundError", 404),
        K.UNKNOWN_MODEL,
    ),
    row("vLLM", 401, b'{"error":"Unauthorized"}', K.BACKEND_AUTH),
    row(
        "vLLM",
        400,
        flat("[{'type': 'extra_forbidden', 'loc': ('body', 'foo')}]", "BadRequestError", 400),
        K.BAD_REQUEST,
    ),
    row(
        "vLLM",
        500,
        flat("EngineCore encountered an issue.", "InternalServerError", 500),
        K.BACKEND_ERROR,
    ),
    row(
        "Ollama",
        404,
        openai('model "x" not found, try pulling it first', "api_error"),
        K.UNKNOWN_MODEL,
    ),
    row("Ollama, native", 404, b'{"error":"model \'x\' not found"}', K.UNKNOWN_MODEL),
    row(
        "Ollama",
        400,
        openai("registry.ollama.ai/library/x does not support tools", "api_error"),
        K.BAD_REQUEST,
    ),
    row(
        "Ollama",
        503,
        openai("server busy, please try again. maximum pending requests exceeded", "api_error"),
        K.OVERLOADED,
    ),
    row("Ollama", 500, openai("llama runner process has terminated", "api_error"), K.MODEL_FAILED),
    row("Mistral", 401, b'{"detail":"Unauthorized"}', K.BACKEND_AUTH),
    row("Mistral", 400, flat("Invalid model: x", "invalid_model", "1500"), K.UNKNOWN_MODEL),
    row(
        "Mistral",
        400,
        flat(
            "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 "
            "maximum context length",
            "invalid_request_error",
            "3051",
        ),
        K.CONTEXT_LENGTH,
    ),
    row(
        "Mistral",
        422,
        flat(
            {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required"}]},
            "invalid_request_error",
        ),
        K.BAD_REQUEST,
    ),
    row("Mistral", 429, b'{"message":"Requests rate limit exceeded"}', K.RATE_LIMITED),
    row(
        "Mistral",
        429,
        flat("Service tier capacity exceeded for this model.", "service_tier_capacity_exceeded"),
        K.RATE_LIMITED,
    ),
    row(
        "Qwen",
        401,
        openai("Incorrect API key provided. ", "invalid_request_error", "invalid_api_key"),
        K.BACKEND_AUTH,
    ),
    row(
        "Qwen, unpaid",
        400,
        openai(
            "Access denied, please make sure your account is in good standing.",
            "Arrearage",
            "Arrearage",
        ),
        K.BACKEND_AUTH,
    ),
    row(
        "Qwen",
        400,
        openai(
            "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
            "invalid_request_error",
            "invalid_parameter_error",
        ),
        K.CONTEXT_LENGTH,
    ),
    row(
        "Qwen",
        400,
        openai(
            "Input data may contain inappropriate content.",
            "data_inspection_failed",
            "data_inspection_failed",
        ),
        K.CONTENT_REFUSED,
    ),
    row(
        "Qwen, words only",
        400,
        openai(
            "<400> InternalError.Algo.DataInspectionFailed: Input data may contain inappropriate "
            "content."
        ),
        K.CONTENT_REFUSED,
    ),
    row(
        "Qwen",
        404,
        openai(
            "The model `x` does not exist or you do not have access to it.",
            "invalid_request_error",
            "model_not_found",
        ),
        K.UNKNOWN_MODEL,
    ),
    row(
        "Qwen",
        429,
        openai("You exceeded your current quota.", "limit_requests", "limit_requests"),
        K.RATE_LIMITED,
    ),
    row(
        "Groq",
        400,
        openai(
            "Please reduce the length of the messages or completion.",
            "invalid_request_error",
            "context_length_exceeded",
        ),
        K.CONTEXT_LENGTH,
    ),
    row(
        "Groq",
        413,
        openai(
            "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested "
            "7000, please reduce your message size and try again.",
            "tokens",
            "rate_limit_exceeded",
        ),
        K.CONTEXT_LENGTH,
    ),
    row(
        "Groq",
        400,
        openai(
            "The model `x` has been decommissioned and is no longer supported.",
            "invalid_request_error",
            "model_decommissioned",
        ),
        K.UNKNOWN_MODEL,
    ),
    row(
        "Groq, tools",
        400,
        openai("Failed to call a function.", "invalid_request_error", "tool_use_failed"),
        K.BAD_REQUEST,
    ),
    row(
        "Groq, flex",
        498,
        openai("Flex tier capacity exceeded", None, "capacity_exceeded"),
        K.OVERLOADED,
    ),
    row("OpenRouter", 401, openai("No auth credentials found", code=401), K.BACKEND_AUTH),
    row("OpenRouter", 402, openai("Insufficient credits", code=402), K.BACKEND_AUTH),
    row("OpenRouter", 400, openai("foo/bar is not a valid model ID", code=400), K.UNKNOWN_MODEL),
    row("OpenRouter", 404, openai("No endpoints found for foo/bar.", code=404), K.UNKNOWN_MODEL),
    row(
        "OpenRouter, moderation",
        403,
        openai(
            'openai/x requires moderation on OpenAI. Your input was flagged for "hate".',
            code=403,
            metadata={"reasons": ["hate"]},
        ),
        K.CONTENT_REFUSED,
    ),
    row("OpenRouter", 408, openai("Request timed out", code=408), K.TIMEOUT),
    row("OpenRouter", 502, openai("Provider returned error", code=502), K.BACKEND_ERROR),
    row("OpenRouter", 503, openai("No instances available", code=503), K.OVERLOADED),
    row(
        "Gemini",
        400,
        google(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"),
        K.BACKEND_AUTH,
    ),
    row(
        "Gemini",
        400,
        google(
            400,
            "The input token count (1200000) exceeds the maximum number of tokens allowed "
            "(1048576).",
            "INVALID_ARGUMENT",
        ),
        K.CONTEXT_LENGTH,
    ),
    row(
        "Gemini",
        404,
        google(404, "models/x is not found for API version v1main.", "NOT_FOUND"),
        K.UNKNOWN_MODEL,
    ),
    row(
        "Gemini",
        429,
        google(429, "You exceeded your current quota.", "RESOURCE_EXHAUSTED"),
        K.RATE_LIMITED,
    ),
    row("Gemini", 503, google(503, "The model is overloaded.", "UNAVAILABLE"), K.OVERLOADED),
    row(
        "Gemini",
        400,
        google(400, "Invalid JSON payload received.", "INVALID_ARGUMENT"),
        K.BAD_REQUEST,
    ),
    row("DeepSeek", 400, openai("Model Not Exist", "invalid_request_error"), K.UNKNOWN_MODEL),
    row("DeepSeek", 402, openai("Insufficient Balance", "unknown_error"), K.BACKEND_AUTH),
    row(
        "llama.cpp",
        400,
        openai(
            "the request exceeds the available context size, try increasing it",
            "exceed_context_size_error",
            400,
        ),
        K.CONTEXT_LENGTH,
    ),
    row("llama.cpp", 503, openai("Loading model", "unavailable_error", 503), K.OVERLOADED),
    row(
        "Anthropic",
        400,
        openai("prompt is too long: 200001 tokens > 200000 maximum", "invalid_request_error"),
        K.CONTEXT_LENGTH,
    ),
    row("Anthropic", 529, openai("Overloaded", "overloaded_error"), K.OVERLOADED),
]


@pytest.mark.parametrize(("status", "body", "kind"), VENDORS)
def test_vendors(status: int, body: bytes, kind: ProblemKind) -> None:
    problem = decode_error(status, body)
    assert (problem.kind, problem.status) == (kind, status)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        pytest.param(500, b"", "answered 500", id="nothing"),
        pytest.param(500, openai("boom"), "answered 500: boom", id="OpenAI's words"),
        pytest.param(401, b'{"detail":"Unauthorized"}', "answered 401: Unauthorized", id="detail"),
        pytest.param(404, b'{"error":"no such model"}', "answered 404: no such model", id="text"),
        pytest.param(503, google(503, "busy", "X"), "answered 503: busy", id="in a list"),
        pytest.param(502, b"Bad  gateway\n", "answered 502: Bad gateway", id="plain text"),
        pytest.param(
            502,
            b"<html><h1>502 Bad Gateway</h1><hr>nginx</html>",
            "answered 502: 502 Bad Gateway nginx",
            id="HTML without its tags",
        ),
        pytest.param(400, b'{"x":1}', 'answered 400: {"x":1}', id="an object without words"),
        pytest.param(400, b"[1,2]", "answered 400: [1,2]", id="a list"),
        pytest.param(400, b"[3]", "answered 400: [3]", id="a list of one"),
        pytest.param(500, b"\xff\xfe", "answered 500: \ufffd\ufffd", id="no text at all"),
    ],
)
def test_what_people_are_told(status: int, body: bytes, told: str) -> None:
    problem = decode_error(status, body)
    assert problem.message == told
    assert problem.quotes is bool(body)  # it may repeat a prompt, so that no log does


def test_long_words_are_cut() -> None:
    assert len(decode_error(400, openai("x" * 10_000)).message) < 400
    assert len(decode_error(400, b"x" * 10_000).message) < 400


# --- ours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ProblemKind)
def test_every_problem_has_a_status_and_a_shape(kind: ProblemKind) -> None:
    status, body = encode_error(Problem(kind, "It failed."))
    assert 400 <= status <= 599
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["message"], error["param"]) == ("It failed.", None)
    assert error["type"] in ("invalid_request_error", "rate_limit_error", "server_error")
    assert isinstance(error["code"], str)


@pytest.mark.parametrize(
    ("problem", "status", "family", "code"),
    [
        (Problem(K.BAD_REQUEST, ""), 400, "invalid_request_error", "bad_request"),
        (Problem(K.BAD_REQUEST, "", status=405), 405, "invalid_request_error", "bad_request"),
        (Problem(K.BAD_REQUEST, "", code="x"), 400, "invalid_request_error", "x"),
        (Problem(K.TOO_LARGE, ""), 413, "invalid_request_error", "too_large"),
        (Problem(K.UNKNOWN_MODEL, ""), 404, "invalid_request_error", "model_not_found"),
        (Problem(K.CONTEXT_LENGTH, ""), 400, "invalid_request_error", "context_length_exceeded"),
        (Problem(K.CONTENT_REFUSED, ""), 400, "invalid_request_error", "content_policy_violation"),
        (Problem(K.FORBIDDEN, ""), 403, "invalid_request_error", "forbidden"),
        (Problem(K.RATE_LIMITED, ""), 429, "rate_limit_error", "rate_limit_exceeded"),
        (Problem(K.CONNECT, ""), 502, "server_error", "connect"),
        (Problem(K.PROTOCOL, ""), 502, "server_error", "protocol"),
        (Problem(K.BACKEND_ERROR, "", status=500), 500, "server_error", "backend_error"),
        (Problem(K.UNAVAILABLE, ""), 503, "server_error", "unavailable"),
        (Problem(K.TIMEOUT, ""), 504, "server_error", "timeout"),
        (Problem(K.DEADLINE, ""), 504, "server_error", "deadline_exceeded"),
        (Problem(K.LOOP, ""), 508, "server_error", "loop_detected"),
        (Problem(K.INTERNAL, ""), 500, "server_error", "internal"),
    ],
)
def test_encode_error(problem: Problem, status: int, family: str, code: str) -> None:
    found, body = encode_error(problem)
    error = json.loads(body)["error"]
    assert (found, error["type"], error["code"]) == (status, family, code)


def test_the_extension_stands_beside_the_error() -> None:
    told = {"request_id": "r1", "attempts": []}
    _, body = encode_error(Problem(K.TIMEOUT, "No.", param="model", extension=told))
    error = json.loads(body)["error"]
    assert (error["sidecar"], error["param"]) == (told, "model")


def test_a_broken_stream_ends_in_one_error_event() -> None:
    frame = encode_event(Problem(K.TRUNCATED, "ended\nearly"))
    assert frame.endswith(b"\n\n") and frame.count(b"\n") == 2
    assert json.loads(frame_data(frame) or b"") == {
        "error": {
            "message": "ended\nearly",
            "type": "server_error",
            "param": None,
            "code": "truncated",
        }
    }


EFFORT = (
    "Unsupported value: 'reasoning_effort' does not support '{}' with this model. Supported values "
    "are: 'medium', and 'high'."
)


@pytest.mark.parametrize(
    ("status", "body", "feature"),
    [
        (
            422,
            b'{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}',
            "usage_in_stream",
        ),
        (400, openai("Unrecognized request argument supplied: stream_options"), "usage_in_stream"),
        (
            400,
            openai("Unsupported parameter: 'reasoning_effort'", param="reasoning_effort"),
            "thinking",
        ),
        (400, openai(EFFORT.format("max"), param="reasoning_effort"), "effort"),
        (400, openai(EFFORT.format("minimal"), param="reasoning_effort"), "effort"),
        # nothing is near to these: the model is left to its own
        (400, openai(EFFORT.format("none"), param="reasoning_effort"), "thinking"),
        (400, openai(EFFORT.format("low"), param="reasoning_effort"), "thinking"),
        (400, openai("Invalid value: 'xhigh'.", param="reasoning_effort"), "effort"),
        (
            422,
            b'{"detail":[{"loc":["body","reasoning_effort"],"msg":"Input should be \'low\', '
            b'\'medium\' or \'high\'","input":"max"}]}',
            "effort",
        ),
        (400, openai("Unsupported parameter: 'temperature' is not supported."), "sampling"),
        (
            400,
            openai(
                "Unsupported value: 'temperature' does not support 0.5 with this model. Only the "
                "default (1) value is supported.",
                param="temperature",
                code="unsupported_value",
            ),
            "sampling",
        ),
        (
            400,
            openai("Unsupported parameter: 'top_p' is not supported with this reasoning_effort."),
            "sampling",
        ),
    ],
)
def test_a_feature_that_a_request_can_do_without(status: int, body: bytes, feature: str) -> None:
    problem = decode_error(status, body)
    assert (problem.kind, problem.param) == (K.UNSUPPORTED, feature)


def test_a_fault_that_only_mentions_a_feature_is_what_it_is() -> None:
    body = openai("stream_options", code="context_length_exceeded")
    assert decode_error(400, body).kind is K.CONTEXT_LENGTH
    assert decode_error(500, openai("stream_options")).kind is K.BACKEND_ERROR
