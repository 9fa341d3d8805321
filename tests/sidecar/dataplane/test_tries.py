"""The tries of a request as machines read them."""

from sidecar.dataplane import tries
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.outcome import Disposition, Outcome

REFUSED = Problem(ProblemKind.CONNECT, "refused the connection (127.0.0.1:8000)")
QUOTING = Problem(ProblemKind.BACKEND_ERROR, "answered 500: my diary", status=500, quotes=True)


def failed(name: str, problem: Problem, seconds: float = 0.0021) -> Outcome:
    return Outcome(0, name, "m", Disposition.FAIL_OVER, problem, duration=seconds)


def test_the_header_is_a_structured_list() -> None:
    history = [failed("vllm", REFUSED), failed("2nd.best", QUOTING, 1.5)]
    assert tries.header(history) == (
        'vllm;outcome=connect;ms=2, "2nd.best";outcome=server_error;ms=1500'
    )
    assert tries.header(history[:1], "openai") == "vllm;outcome=connect;ms=2, openai;outcome=ok"
    assert tries.header([], "openai") == "openai;outcome=ok"


def test_the_header_is_bounded() -> None:
    history = [failed("b" * 63, REFUSED, 1e6)] * 100
    told = tries.header(history, "last")
    assert told.count(", ") == tries.TOLD - 1
    assert told.endswith(", last;outcome=ok")
    assert len(told) < 4096


def test_a_backend_is_quoted_only_where_the_message_does_it_too() -> None:
    history = [failed("vllm", REFUSED), failed("openai", QUOTING)]
    plain, quoting = tries.listed(history, "openai: answered 500: my diary.", str.upper)
    assert plain == {
        "backend": "vllm", "model": "m", "outcome": "connect", "ms": 2,
        "reason": "REFUSED THE CONNECTION (127.0.0.1:8000)",
    }  # fmt: skip
    assert quoting["reason"] == "ANSWERED 500: MY DIARY"
    assert quoting["status"] == 500
    _, quiet = tries.listed(history, "", lambda words: words)
    assert quiet["reason"] == "backend_error (the backend's words are not repeated here)"
