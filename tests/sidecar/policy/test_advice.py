"""What to do next, as a table: what went wrong, what is known, the sentence."""

from dataclasses import replace

import pytest

from sidecar.neutral.problem import Overflow, Problem, ProblemKind
from sidecar.policy.advice import Known, advise, advise_all, past_deadline

K = ProblemKind
HOME = Known("home", "127.0.0.1:11434", "chat", is_ollama=True, model="llama3.2")
VLLM = Known("vllm", "10.0.0.7:8000", "chat", model="qwen")
CLOUD = Known("openai", "api.openai.com:443", "chat", is_public=True, key="env OPENAI_API_KEY")
FULL = Overflow(200_000, 210_000, None, 10_000)
ROOM = Overflow(200_000, 207_951, 8192, 7951)


@pytest.mark.parametrize(
    ("problem", "known", "told"),
    [
        (
            Problem(K.CONTEXT_LENGTH, "", overflow=FULL),
            VLLM,
            "Shorten the history by about 10000 tokens, or ask for a model with a larger context.",
        ),
        (
            Problem(K.CONTEXT_LENGTH, ""),
            replace(VLLM, larger="gpt-long"),
            "Shorten the history, or ask for a model with a larger context, such as 'gpt-long'.",
        ),
        (
            Problem(K.CONTEXT_LENGTH, "", overflow=ROOM),
            replace(VLLM, bound="max_output_tokens"),
            "Lower `max_output_tokens` by about 7951 tokens, or ask for a model with a larger "
            "context.",
        ),
        (
            Problem(K.CONTEXT_LENGTH, "", overflow=replace(ROOM, requested=300_000)),
            VLLM,
            "Shorten the history by about 7951 tokens, or ask for a model with a larger context.",
        ),
        (
            Problem(K.BACKEND_AUTH, "", status=401),
            CLOUD,
            "Check the key of backend 'openai', which comes from env OPENAI_API_KEY.",
        ),
        (
            Problem(K.BACKEND_AUTH, "", status=402),
            CLOUD,
            "Check the account behind the key of backend 'openai': has it credit left?",
        ),
        (
            Problem(K.BACKEND_AUTH, ""),
            VLLM,
            "Backend 'vllm' has no key: say in its `auth` where one is.",
        ),
        (
            Problem(K.BACKEND_AUTH, ""),
            replace(VLLM, forwards_key=True),
            "Send a key: backend 'vllm' is given the client's own.",
        ),
        (
            Problem(K.CLIENT_AUTH, ""),
            VLLM,
            "Check the key that the client sends: backend 'vllm' is given it as it is.",
        ),
        (
            Problem(K.CONNECT, ""),
            HOME,
            "Is Ollama running at 127.0.0.1:11434? `ollama serve` starts it.",
        ),
        (Problem(K.CONNECT, ""), VLLM, "Is a server running at 10.0.0.7:8000?"),
        (
            Problem(K.CONNECT, ""),
            replace(HOME, is_public=True),
            "Check `base_url` of backend 'home' and the way to 127.0.0.1:11434.",
        ),
        (
            Problem(K.CONNECT, ""),
            CLOUD,
            "Check `base_url` of backend 'openai' and the way to api.openai.com:443.",
        ),
        (
            Problem(K.DNS, ""),
            CLOUD,
            "Check the host in `base_url` of backend 'openai', and the name server.",
        ),
        (
            Problem(K.TLS, ""),
            CLOUD,
            "Has the certificate of api.openai.com:443 expired? Renew it; where your own authority "
            "signed it, name that in `ca` of backend 'openai'.",
        ),
        (
            Problem(K.TIMEOUT, "", setting="timeouts.first_token"),
            HOME,
            "The model of backend 'home' may still be loading: ask again, or raise its "
            "`timeouts.first_token`.",
        ),
        (
            Problem(K.TIMEOUT, "", setting="timeouts.idle"),
            HOME,
            "If backend 'home' is only slow, raise its `timeouts.idle`.",
        ),
        (
            Problem(K.TIMEOUT, "", setting="timeouts.connect"),
            VLLM,
            "Is a server running at 10.0.0.7:8000?",
        ),
        (Problem(K.TIMEOUT, "", status=408), VLLM, None),
        (
            Problem(K.RATE_LIMITED, "", retry_after=6.2),
            CLOUD,
            "Come back in 7 s, or give route 'chat' one more target.",
        ),
        (
            Problem(K.OVERLOADED, ""),
            replace(CLOUD, route="other"),
            "Come back later.",
        ),
        (
            Problem(K.UNKNOWN_MODEL, ""),
            HOME,
            "`ollama pull llama3.2` fetches the model for backend 'home'.",
        ),
        (Problem(K.UNKNOWN_MODEL, ""), VLLM, None),
        (Problem(K.UNKNOWN_MODEL, ""), replace(HOME, model="x; rm -rf ~"), None),
        (Problem(K.UNKNOWN_MODEL, ""), replace(HOME, model="-x"), None),
        (
            Problem(K.UNKNOWN_MODEL, "", setting="base_url"),
            HOME,
            "Is `base_url` of backend 'home' right? A login page or a proxy may have answered.",
        ),
        (
            Problem(K.PROTOCOL, "", setting="base_url"),
            CLOUD,
            "Is `base_url` of backend 'openai' right? A login page or a proxy may have answered.",
        ),
        (Problem(K.CONTENT_REFUSED, ""), CLOUD, "Word the request otherwise."),
        (
            Problem(K.CONTENT_REFUSED, ""),
            replace(CLOUD, next_target=True),
            "Word the request otherwise; `on: {content_refused: fail_over}` of route 'chat' would "
            "ask its next target.",
        ),
        (Problem(K.DEADLINE, ""), CLOUD, "Ask for less, or let the client wait longer."),
        (Problem(K.DEADLINE, ""), replace(CLOUD, by_route=True), past_deadline("chat")),
    ],
)
def test_advice(problem: Problem, known: Known, told: str | None) -> None:
    assert advise(problem, known) == told


@pytest.mark.parametrize(
    "kind",
    [
        K.BACKEND_ERROR, K.PROTOCOL, K.TRUNCATED, K.UNMET, K.UNSUPPORTED, K.BAD_REQUEST,
        K.TOO_LARGE, K.FORBIDDEN, K.CANNOT_TRANSLATE, K.CLIENT_GONE, K.NOT_LOCAL,
        K.UNAVAILABLE, K.SHUTDOWN, K.LOOP, K.INTERNAL,
    ],
)  # fmt: skip
def test_where_nothing_helps_nothing_is_said(kind: ProblemKind) -> None:
    assert advise(Problem(kind, "So."), VLLM) is None


def test_each_backend_has_its_own_advice_by_its_latest_fault() -> None:
    refused, key = Problem(K.CONNECT, ""), Problem(K.BACKEND_AUTH, "")
    failed = [(Problem(K.OVERLOADED, ""), HOME), (refused, HOME), (refused, HOME), (key, CLOUD)]
    assert advise_all(refused, failed) == (
        "Is Ollama running at 127.0.0.1:11434? `ollama serve` starts it. "
        "Check the key of backend 'openai', which comes from env OPENAI_API_KEY."
    )


def test_what_the_client_can_mend_comes_alone() -> None:
    long, refused = Problem(K.CONTEXT_LENGTH, "", overflow=FULL), Problem(K.CONNECT, "")
    told = advise_all(long, [(refused, HOME), (long, VLLM), (refused, CLOUD)])
    assert told is not None
    assert told.startswith("Shorten")
    assert "Ollama" not in told


def test_advice_is_short() -> None:
    failed = [
        (Problem(K.CONNECT, ""), replace(VLLM, backend=str(n), place=f"h:{n}")) for n in range(9)
    ]
    told = advise_all(Problem(K.CONNECT, ""), failed)
    assert (
        told
        == "Is a server running at h:0? Is a server running at h:1? Is a server running at h:2?"
    )
    assert advise_all(Problem(K.TRUNCATED, ""), [(Problem(K.TRUNCATED, ""), VLLM)]) is None
