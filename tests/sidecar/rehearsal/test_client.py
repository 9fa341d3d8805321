"""What a client makes of an answer, in each dialect; and what a stand-in says."""

from __future__ import annotations

import pytest

from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.rehearsal.client import Heard, Question, Understood, understand
from sidecar.rehearsal.voice import Asked, Voice, speakers, words
from sidecar.wire import json
from sidecar.wire.contract import Dialect

EACH = pytest.mark.parametrize("dialect", DIALECTS, ids=[one.name for one in DIALECTS])
TEXT = "".join(words("a"))
PROBLEM = Problem(ProblemKind.BACKEND_ERROR, "it broke")


def question(dialect: Dialect, *, stream: bool) -> tuple[Question, Voice, Asked]:
    made = Question(dialect, "m", stream)
    body = json.loads_object(made.wire().partition(b"\r\n\r\n")[2])
    assert body is not None
    return made, Voice(dialect, "a", 7), Asked(0.0, "POST", "/", body, 1, 0)


def streamed(frames: list[bytes], made: Question, *, is_ended: bool = True) -> Understood:
    return understand(Heard(200, {}, b"".join(frames), is_ended), made)


@EACH
def test_a_whole_answer(dialect: Dialect) -> None:
    made, voice, asked = question(dialect, stream=False)
    body = voice.whole(asked, words("a"))
    found = understand(Heard(200, {}, body, is_ended=True), made)
    assert (found.text, found.looks_whole, found.error) == (TEXT, True, None)
    assert found.model == "m"
    assert found.usage is not None
    assert found.usage.input_tokens == 7
    half = understand(Heard(200, {}, body[:-9], is_ended=False), made)
    assert not half.looks_whole


@EACH
def test_a_whole_stream(dialect: Dialect) -> None:
    made, voice, asked = question(dialect, stream=True)
    found = streamed(voice.frames(asked, words("a")), made)
    assert (found.text, found.looks_whole, found.error) == (TEXT, True, None)
    assert found.usage is not None
    assert found.usage.input_tokens == 7
    assert not streamed(voice.frames(asked, words("a")), made, is_ended=False).looks_whole


@EACH
def test_a_stream_that_just_stops(dialect: Dialect) -> None:
    made, voice, asked = question(dialect, stream=True)
    found = streamed(voice.begun(asked, words("a")[:40]), made)
    assert found.text == "".join(words("a")[:40])
    assert (found.looks_whole, found.error) == (False, None)


@EACH
def test_a_stream_that_says_that_it_broke(dialect: Dialect) -> None:
    made, voice, asked = question(dialect, stream=True)
    found = streamed(voice.broken(asked, words("a")[:40], PROBLEM), made)
    assert found.error is not None
    assert not found.looks_whole


@EACH
def test_an_error_by_status(dialect: Dialect) -> None:
    made, voice, _ = question(dialect, stream=True)
    status, body = voice.refusal(Problem(ProblemKind.CONTEXT_LENGTH, "too long"))
    found = understand(Heard(status, {}, body, is_ended=True), made)
    assert found.error is not None
    assert found.error.kind is ProblemKind.CONTEXT_LENGTH


def test_no_answer_at_all() -> None:
    made, _, _ = question(DIALECTS[0], stream=True)
    assert understand(Heard(), made) == Understood()


@pytest.mark.parametrize(
    ("text", "who"),
    [
        (TEXT, ("a",)),
        ("".join([*words("a")[:40], *words("b", 40)]), ("a", "b")),
        ("".join([*words("a")[:40], *words("b", 39)]), ()),  # a word twice
        ("".join(words("a")[:59]), ()),
        ("".join(words("a", 1)), ()),
        (TEXT + "more", ()),
        (TEXT.strip(), ()),
        ("", ()),
    ],
)
def test_who_speaks(text: str, who: tuple[str, ...]) -> None:
    assert speakers(text) == who


@EACH
def test_a_stand_in_goes_on_from_a_prefill(dialect: Dialect) -> None:
    _, voice, asked = question(dialect, stream=False)
    assert voice.prefill(asked) is None
    assert "".join(voice.says(asked)) == TEXT
    turns = "input" if "input" in asked.body else "messages"
    given = [
        {"role": "user", "content": "Count."},
        {"role": "assistant", "content": "".join(words("b")[:40]).strip()},
    ]
    more = Asked(0.0, "POST", "/", {**asked.body, turns: given}, 1, 0)
    assert voice.says(more) == words("a", 40)
