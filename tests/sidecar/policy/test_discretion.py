"""What a stranger is told: nothing that tells how this place is built."""

import pytest

from sidecar.neutral.problem import Overflow, Problem, ProblemKind
from sidecar.policy.discretion import discreet, veiled

MENDED = {
    ProblemKind.BAD_REQUEST, ProblemKind.TOO_LARGE, ProblemKind.CONTEXT_LENGTH,
    ProblemKind.CONTENT_REFUSED,
}  # fmt: skip


def problem(kind: ProblemKind) -> Problem:
    return Problem(
        kind, "Backend 'canary' at canary:1 said no", status=418, code="canary", param="top_p",
        retry_after=3.0, headers={"x-canary": "1"}, raw=b"canary", quotes=True, setting="canary",
        advice="Ask canary", extension={"canary": 1},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ProblemKind)
def test_of_what_a_backend_did_only_the_kind_is_told(kind: ProblemKind) -> None:
    told = discreet(problem(kind), True, "answered 400: too hot", "chat")
    kept = told.advice if kind is ProblemKind.CONTEXT_LENGTH else None
    assert "canary" not in repr(told).replace(repr(kept), "None")
    assert (told.kind, told.retry_after, told.raw) == (kind, 3.0, None)
    assert told.status == (404 if kind is ProblemKind.UNKNOWN_MODEL else 418)
    assert ("too hot" in told.message) is (kind in MENDED)


@pytest.mark.parametrize(
    "kind", [*sorted(MENDED), ProblemKind.RATE_LIMITED, ProblemKind.CLIENT_AUTH]
)
def test_a_refusal_of_our_own_is_told_as_it_is(kind: ProblemKind) -> None:
    ours = Problem(kind, "Send less.", code="ours", param="top_p", advice="Or add a backend.")
    told = discreet(ours, False, "", None)
    assert (told.message, told.code, told.param, told.advice) == (
        "Send less.",
        "ours",
        "top_p",
        None,
    )


def test_an_unknown_model_is_told_alike_whoever_does_not_know_it() -> None:
    ours = Problem(ProblemKind.UNKNOWN_MODEL, "No route offers it. Did you mean 'canary'?")
    asked = discreet(problem(ProblemKind.UNKNOWN_MODEL), True, "has no canary", "gpt")
    assert discreet(ours, False, "", "gpt").message == asked.message
    assert "'gpt'" in asked.message


def test_the_numbers_of_an_overlong_request_are_told() -> None:
    room = Overflow(limit=10, requested=20)
    long = Problem(ProblemKind.CONTEXT_LENGTH, "m", overflow=room, advice="Shorten it.")
    told = discreet(long, True, "answered 400: at most 10 tokens", "chat")
    assert (told.overflow, told.advice) == (room, "Shorten it.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("home is down", "*** is down"),
        ("at home:11434, home-made, my-home", "at ***, home-made, my-home"),
        ("http://home:11434/v1/chat", "***/chat"),
        ("llama3 and llama3.1:8b", "llama3 and chat"),
        ("nothing", "nothing"),
    ],
)
def test_what_is_hidden_is_hidden_as_a_word(text: str, expected: str) -> None:
    hidden = {
        "home": "***", "home:11434": "***", "http://home:11434/v1": "***", "llama3.1:8b": "chat",
        "": "***",
    }  # fmt: skip
    assert veiled(text, hidden, "***") == expected


def test_where_nothing_is_hidden_the_text_stays() -> None:
    assert veiled("as it is", {}, "***") == "as it is"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("upstream 10.9.8.7:1234 said no", "upstream *** said no"),
        ("at https://inner.lan:8000/v1?key=a, twice", "at ***, twice"),
        ("(http://gpu-2/v1)", "(***)"),
        ("gpu.inner.lan:8000 and LOCALHOST:11434", "*** and ***"),
        ("dial tcp [fd00::7]:80: refused", "dial tcp ***: refused"),
        ("temperature: 2.5 of 1.0, max_tokens:4096", "temperature: 2.5 of 1.0, max_tokens:4096"),
        ("llama3.1:8b, qwen2.5:14b-q4", "llama3.1:8b, qwen2.5:14b-q4"),
        ("at messages.0.content:1, line 3:45", "at messages.0.content:1, line 3:45"),
    ],
)
def test_an_address_is_hidden_whosever_it_is(text: str, expected: str) -> None:
    assert veiled(text, {}, "***") == expected
