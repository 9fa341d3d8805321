"""What a backend's error means: by its codes, by its status, and by its words where no code says.

Words of a backend's message are read here and nowhere else.
"""

import re
from collections.abc import Set as AbstractSet

from sidecar.neutral.problem import ProblemKind

_CONTEXT = re.compile(
    r"context[ _](length|window|size)|prompt is too long|too many (input )?tokens"
    r"|exceed\w* .{0,40}(context|token limit|number of tokens)|maximum model length"
    r"|range of input length",
    re.IGNORECASE,
)
_POLICY = re.compile(
    r"content (policy|filter|management)|safety (system|policy)|input was flagged"
    r"|DataInspectionFailed",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model.{0,120}(not found|does not exist|not exist|unknown)|not a valid model", re.IGNORECASE
)
_BAD_KEY = re.compile(
    r"(invalid|incorrect) api[ _]key|api[ _]key (not valid|expired)", re.IGNORECASE
)
_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_POLICY_CODES = {
    "content_policy_violation", "content_filter", "responsibleaipolicyviolation",
    "data_inspection_failed", "invalid_prompt",
}  # fmt: skip
_MODEL_CODES = {"model_not_found", "invalid_model", "unknown_model", "model_decommissioned"}
_ACCOUNT_CODES = {"invalid_api_key", "arrearage"}  # the second: the bill is not paid

# the status that a dialect chooses for a kind, unless it has its own
STATUS = {
    ProblemKind.BAD_REQUEST: 400,
    ProblemKind.CANNOT_TRANSLATE: 400,
    ProblemKind.UNSUPPORTED: 400,
    ProblemKind.CONTEXT_LENGTH: 400,
    ProblemKind.CONTENT_REFUSED: 400,
    ProblemKind.CLIENT_AUTH: 401,
    ProblemKind.FORBIDDEN: 403,
    ProblemKind.UNKNOWN_MODEL: 404,
    ProblemKind.TOO_LARGE: 413,
    ProblemKind.RATE_LIMITED: 429,
    ProblemKind.INTERNAL: 500,
    ProblemKind.OVERLOADED: 503,
    ProblemKind.UNAVAILABLE: 503,
    ProblemKind.SHUTDOWN: 503,
    ProblemKind.TIMEOUT: 504,
    ProblemKind.DEADLINE: 504,
    ProblemKind.LOOP: 508,
}
BACKEND_FAULT = 502  # the status of every other kind
_BY_STATUS = {
    401: ProblemKind.BACKEND_AUTH,
    402: ProblemKind.BACKEND_AUTH,  # the account behind the key has no credit left
    403: ProblemKind.BACKEND_AUTH,
    404: ProblemKind.UNKNOWN_MODEL,
    408: ProblemKind.TIMEOUT,
    413: ProblemKind.CONTEXT_LENGTH,  # too much for this backend; another one may take it
    429: ProblemKind.RATE_LIMITED,
    498: ProblemKind.OVERLOADED,  # no capacity in that service tier
    503: ProblemKind.OVERLOADED,
    508: ProblemKind.LOOP,
    529: ProblemKind.OVERLOADED,
}


def kind_of(status: int, codes: AbstractSet[str], words: str) -> ProblemKind:
    """The kind of an error; `codes` are its machine-readable names in lower case."""
    if 400 <= status < 500:
        if codes & _CONTEXT_CODES or (status in (400, 413) and _CONTEXT.search(words)):
            return ProblemKind.CONTEXT_LENGTH
        if codes & _POLICY_CODES or (status in (400, 403) and _POLICY.search(words)):
            return ProblemKind.CONTENT_REFUSED
        if codes & _MODEL_CODES or (status in (400, 422) and _NO_MODEL.search(words)):
            return ProblemKind.UNKNOWN_MODEL
        if codes & _ACCOUNT_CODES or (status == 400 and _BAD_KEY.search(words)):
            return ProblemKind.BACKEND_AUTH
    return _BY_STATUS.get(status) or (
        ProblemKind.BACKEND_ERROR if status >= 500 else ProblemKind.BAD_REQUEST
    )


def text_of(body: bytes) -> str:
    """The words of a body that is no JSON, without its tags."""
    text = re.sub(r"<[^>]*>", " ", body[:2000].decode("utf-8", "replace"))
    return " ".join(text.split())[:200]
