"""Errors in both directions."""

import openai
import pytest

from sidecar.dialects.openai_responses import DIALECT
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.contract import Feature

KINDS = [
    (401, {"code": "invalid_api_key", "message": "Incorrect API key"}, ProblemKind.BACKEND_AUTH),
    (404, {"code": "model_not_found", "message": "no"}, ProblemKind.UNKNOWN_MODEL),
    (400, {"code": "context_length_exceeded", "message": "no"}, ProblemKind.CONTEXT_LENGTH),
    (400, {"code": "invalid_prompt", "message": "no"}, ProblemKind.CONTENT_REFUSED),
    (400, {"code": None, "param": "input", "message": "no"}, ProblemKind.BAD_REQUEST),
    (429, {"type": "insufficient_quota", "message": "no"}, ProblemKind.RATE_LIMITED),
    (500, {"type": "server_error", "message": "no"}, ProblemKind.BACKEND_ERROR),
    (503, {"message": "no"}, ProblemKind.OVERLOADED),
]


@pytest.mark.parametrize(("status", "error", "kind"), KINDS)
def test_what_an_error_means(status: int, error: dict[str, object], kind: ProblemKind) -> None:
    problem = DIALECT.decode_error(status, json.dumps({"error": error}))
    assert (problem.kind, problem.status) == (kind, status)
    assert problem.message == f"answered {status}: {error['message']}" and problem.quotes


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "answered 502"),
        (b"<h1>Bad  Gateway</h1>", "answered 502: Bad Gateway"),
        (b"[]", "answered 502: []"),
        (b'{"detail": "no"}', "answered 502: no"),
    ],
)
def test_a_body_of_any_kind(body: bytes, message: str) -> None:
    assert DIALECT.decode_error(502, body).message == message


@pytest.mark.parametrize(
    ("error", "feature"),
    [
        ({"code": "invalid_encrypted_content", "message": "no"}, Feature.SIGNED_THINKING),
        (
            {"code": None, "message": "The encrypted content for item rs_1 could not be verified."},
            Feature.SIGNED_THINKING,
        ),
        (
            {"code": "unsupported_parameter", "param": "reasoning.effort", "message": "no"},
            Feature.THINKING,
        ),
        (
            {
                "code": "unsupported_value",
                "param": "reasoning.effort",
                "message": "Unsupported value: 'max' is not supported with the 'o3' model. "
                "Supported values are: 'low', 'medium', and 'high'.",
            },
            Feature.EFFORT,
        ),
        (
            {"param": "reasoning.effort", "message": "Invalid value: 'xhigh'. Supported values"},
            Feature.EFFORT,
        ),
        (
            {"param": "reasoning.effort", "message": "'reasoning.effort' does not support 'none'"},
            Feature.THINKING,
        ),
        (
            {"param": "temperature", "message": "Unsupported parameter: 'temperature' is not"},
            Feature.SAMPLING,
        ),
        ({"message": "Encrypted content is not supported with this model."}, Feature.THINKING),
    ],
)
def test_what_a_request_can_do_without(error: dict[str, object], feature: Feature) -> None:
    problem = DIALECT.decode_error(400, json.dumps({"error": error}))
    assert (problem.kind, problem.param) == (ProblemKind.UNSUPPORTED, feature.value)


@pytest.mark.parametrize("kind", ProblemKind)
def test_the_official_client_reads_our_errors(kind: ProblemKind) -> None:
    status, body = DIALECT.encode_error(Problem(kind, "No.", extension={"request_id": "r"}))
    error = json.loads(body)["error"]
    assert 400 <= status <= 599
    assert (error["message"], error["sidecar"]) == ("No.", {"request_id": "r"})
    assert isinstance(error["code"], str)
    raised = openai.APIError("No.", request=None, body=error)  # type: ignore[arg-type]
    assert (raised.code, raised.type) == (error["code"], error["type"])


@pytest.mark.parametrize(
    "kind",
    [
        ProblemKind.BAD_REQUEST,
        ProblemKind.CONTEXT_LENGTH,
        ProblemKind.CONTENT_REFUSED,
        ProblemKind.UNKNOWN_MODEL,
        ProblemKind.RATE_LIMITED,
        ProblemKind.OVERLOADED,
        ProblemKind.TIMEOUT,
    ],
)
def test_an_error_of_ours_is_understood_by_the_next_sidecar(kind: ProblemKind) -> None:
    status, body = DIALECT.encode_error(Problem(kind, "No."))
    again = DIALECT.decode_error(status, body).kind
    assert again is (ProblemKind.BACKEND_ERROR if kind is ProblemKind.TIMEOUT else kind)
