"""What a backend's error means: by its codes, by its status, and by its words where no code says.

Words of a backend's message are read here and nowhere else.
"""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from sidecar.neutral.problem import Overflow, ProblemKind
from sidecar.wire import json
from sidecar.wire.json import Json

_CONTEXT = re.compile(
    r"context[ _](length|window|size)|prompt is too long|too many (input )?tokens"
    r"|exceed\w* .{0,40}(context|token limit|number of tokens)|maximum (model|prompt) length"
    r"|prompt token count .{0,20}exceeds"
    r"|range of input length",
    re.IGNORECASE,
)
# vLLM, OpenAI | Groq | DeepSeek, DashScope; some of them name the window too
_LONG_BOUND = re.compile(
    r"max_(completion_)?tokens\W{1,3}(is too large|must be less than or equal)"
    r"|range of max_tokens",
    re.IGNORECASE,
)
_SAMPLED = r"\b(temperature|top_?[pk]|min_p|(frequency|presence|repetition)_?penalty|logit_bias)\b"
# OpenAI: "Unsupported parameter: 'temperature'", "'top_p' does not support 0.5 with this model",
# "temperature, top_p and n are fixed at 1"; Anthropic: "`top_k` is deprecated for this model",
# "`temperature` and `top_p` cannot both be specified", "`top_k` must be unset when thinking is on"
_NO_SAMPLING = re.compile(
    rf"(unsupported parameter|unrecognized request argument supplied)\W{{1,4}}{_SAMPLED}"
    rf"|{_SAMPLED}.{{0,60}}(not support|deprecated|fixed at|cannot both|only be set|be unset)",
    re.IGNORECASE,
)
# OpenAI: "'reasoning_effort' does not support 'max'", "Invalid value: 'max'"; others as `input`
_NO_EFFORT = re.compile(
    r"(does not support|(invalid|unsupported) value|input)\W{1,8}(minimal|xhigh|max)\b",
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
# Ollama: "llama runner process has terminated: exit status 2", "model requires more system memory
# (5 GiB) than is available", "unable to load model: …"; LM Studio: "Failed to load model"
_DEAD_MODEL = re.compile(
    r"runner process (has terminated|no longer running)|(waiting for .{0,10}|llama )runner to start"
    r"|requires more (system|gpu|video) memory|(unable|failed) to load (the )?model"
    r"|error loading (the )?model",
    re.IGNORECASE,
)
_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_POLICY_CODES = {
    "content_policy_violation", "content_filter", "responsibleaipolicyviolation",
    "data_inspection_failed", "invalid_prompt",
}  # fmt: skip
_MODEL_CODES = {"model_not_found", "invalid_model", "unknown_model", "model_decommissioned"}
_ACCOUNT_CODES = {"invalid_api_key", "arrearage"}  # the second: the bill is not paid

_N = r"(\d[\d,]{0,14})"
# OpenAI, vLLM, DeepSeek, SGLang, xAI | Anthropic, twice | Mistral | Gemini | llama.cpp | SGLang,
# llama-cpp-python, LM Studio | DashScope | Bedrock, Copilot | Cerebras | Moonshot
_LIMIT = (
    rf"maximum (?:context|prompt) length (?:of|is) {_N}", rf"tokens > {_N} maximum",
    rf"context limit: [\d,]+ \+ [\d,]+ > {_N}", rf"{_N} maximum context length",
    rf"tokens allowed \({_N}\)", rf"available context size \({_N}",
    rf"context (?:length|window)(?: of)?(?: only)? \(?{_N}",
    rf"input length should be \[1, ?{_N}\]",
    rf"exceeds the (?:model )?limit of {_N}", rf"limit is {_N}", rf"token limit: {_N}",
)  # fmt: skip
# OpenAI, OpenRouter, SGLang | vLLM | OpenAI | vLLM, xAI | Anthropic, twice (the second is a sum) |
# Gemini | Mistral | llama.cpp | llama-cpp-python | SGLang | Copilot | Cerebras | Moonshot
_REQUESTED = (
    rf"requested (?:a total of |about )?{_N} tokens", rf"total of (?:at least )?{_N} tokens",
    rf"messages resulted in {_N} tokens", rf"request (?:has|contains) {_N} (?:input )?tokens",
    rf"too long: {_N} tokens", rf"context limit: {_N} \+ {_N}", rf"input token count \({_N}\)",
    rf"prompt contains {_N} tokens", rf"request \({_N} tokens\)", rf"tokens \({_N}\) exceed",
    rf"the input \({_N} tokens\)", rf"prompt token count of {_N}", rf"current length is {_N}",
    rf"requested: {_N}\)",
)  # fmt: skip
# OpenAI, OpenRouter | vLLM | SGLang | Anthropic
_OUTPUT = (
    rf"{_N} (?:in|for) the (?:completion|output)", rf"requested {_N} output tokens",
    rf"{_N} tokens for the completion", rf"context limit: [\d,]+ \+ {_N}",
)  # fmt: skip
_EXCESS = (rf"exceeded (?:\w+ ){{0,4}}by {_N} tokens",)  # Ollama, Cohere
_TAIL = re.compile(r"(?<![!-~])[!-~]+\Z")
_LONGEST = 300  # characters of a backend's words that are told

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
    ProblemKind.HURRIED: 504,
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
        if codes & _CONTEXT_CODES or (status in (400, 413) and _tells_of_context(words)):
            return ProblemKind.CONTEXT_LENGTH
        if codes & _POLICY_CODES or (status in (400, 403) and _POLICY.search(words)):
            return ProblemKind.CONTENT_REFUSED
        if codes & _MODEL_CODES or (status in (400, 422) and _NO_MODEL.search(words)):
            return ProblemKind.UNKNOWN_MODEL
        if codes & _ACCOUNT_CODES or (status == 400 and _BAD_KEY.search(words)):
            return ProblemKind.BACKEND_AUTH
    if (status == 400 or status >= 500) and _DEAD_MODEL.search(words):
        return ProblemKind.MODEL_FAILED
    return _BY_STATUS.get(status) or (
        ProblemKind.BACKEND_ERROR if status >= 500 else ProblemKind.BAD_REQUEST
    )


def _tells_of_context(words: str) -> bool:
    return _CONTEXT.search(words) is not None and not tells_of_bound(words)


def tells_of_bound(words: str) -> bool:
    """Whether the bound on the answer is what does not fit: without it the request may."""
    return _LONG_BOUND.search(words) is not None


def refuses_sampling(words: str) -> bool:
    """Whether it is told how tokens are drawn, and takes none of that."""
    return _NO_SAMPLING.search(words) is not None


def refuses_effort(words: str) -> bool:
    """Whether the effort is one of those that only some models know.

    A refusal of the others says that no effort may be named, or none but the model's own.
    """
    return _NO_EFFORT.search(words) is not None


def overflow_in(kind: ProblemKind, error: Json, words: str) -> Overflow | None:
    """The numbers that an error tells of an overlong request; None where it tells none.

    llama.cpp has them as fields.
    """
    if kind is not ProblemKind.CONTEXT_LENGTH:
        return None
    limit = _counted(error.get("n_ctx")) or _number(_LIMIT, words)
    requested = _counted(error.get("n_prompt_tokens")) or _number(_REQUESTED, words)
    excess = _number(_EXCESS, words)
    if excess is None and limit is not None and requested is not None and requested > limit:
        excess = requested - limit
    found = Overflow(limit, requested, _number(_OUTPUT, words), excess)
    return None if found == Overflow() else found


def _counted(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if isinstance(value, int) and is_count else None


def _number(patterns: Iterable[str], words: str) -> int | None:
    """What the first pattern found says; where it has found several numbers, their sum."""
    for pattern in patterns:
        if found := re.search(pattern, words, re.IGNORECASE):
            return sum(int(one.replace(",", "")) for one in found.groups())
    return None


def clipped(text: str, longest: int = _LONGEST) -> str:
    """The beginning of a text. No word is cut: half a key would not be known as a key."""
    if len(text) <= longest:
        return text
    # a key is of ASCII; other scripts may do without spaces
    kept = _TAIL.sub("", text[: longest + 1])[:longest]
    return f"{kept.rstrip()} ...".lstrip()


def error_in(body: bytes) -> Json:
    """The object in a body that tells of an error; empty where there is none."""
    try:
        parsed = json.loads(body)
    except json.InvalidJson:
        return {}
    if isinstance(parsed, list) and len(parsed) == 1:  # so Gemini wraps its errors
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return {}
    error = parsed.get("error")
    return error if isinstance(error, dict) else parsed


def codes_in(error: Json) -> set[str]:
    """The machine-readable names of an error, for `kind_of`."""
    return {str(error[name]).casefold() for name in ("code", "type") if error.get(name)}


def words_in(error: Json) -> str:
    """What an error says to people; empty where it says nothing."""
    for name in ("message", "error", "detail"):
        if isinstance(words := error.get(name), str):
            return clipped(words)
    return ""


def answered(status: int, words: str) -> str:
    """The message of a problem that a backend has answered."""
    return f"answered {status}: {words}" if words else f"answered {status}"


def text_of(body: bytes) -> str:
    """The words of a body that is no JSON, without its tags."""
    text = re.sub(r"<[^>]*>", " ", clipped(body[:8000].decode("utf-8", "replace"), 2000))
    return clipped(" ".join(text.split()), 200)
