"""Requests, answers and streams in the neutral form, as a client or a model may mean them.

They keep to what every dialect can say in some way, so that laws need no exceptions: texts that
are not blank, results right behind their calls, thinking before words before calls.
"""

import base64
from itertools import count, pairwise

from hypothesis import strategies as st

from sidecar.neutral.events import Event, MessageEnd, PartDelta, Ping, UsageReport
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Effort,
    Image,
    Inline,
    JsonOutput,
    Message,
    Part,
    Reasoning,
    Refusal,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.fold import unfolded

ISSUERS = ("anthropic", "openai-responses", "openai", "toy")

_LETTERS = st.sampled_from("aZ9 \n\t\"'\\{}[]<>:,é😀\u2028\x00\x7f\ufeff") | st.characters(
    exclude_categories=["Cs"]
)
TEXTS = st.text(_LETTERS, min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
_NAMES = st.sampled_from(["weather", "now", "apply_patch", "mcp__files__read", "x-1"])
_ARGUMENTS = st.dictionaries(
    st.sampled_from(["city", "days", "é", "nested"]),
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=5) | st.just([{}, [1]]),
    max_size=3,
).map(lambda value: json.dumps(value).decode())
_SIGNATURES = st.text("AZaz09+/=", min_size=8, max_size=24)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
_PICTURES = [
    Image(Inline(f"image/{kind}", base64.b64encode(start + b"\x00" * 40).decode()))
    for kind, start in (
        ("png", b"\x89PNG\r\n\x1a\n"),
        ("gif", b"GIF89a"),
        ("jpeg", b"\xff\xd8\xff\xe0"),
    )
]


# --- requests -------------------------------------------------------------------------------------


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Turns that alternate from a user's to a user's, results right behind their calls."""
    numbers = count(1)
    turns: list[Message] = []
    if draw(st.booleans()):
        turns.append(Message(Role.SYSTEM, (Text(draw(TEXTS)),)))
    results: tuple[Part, ...] = ()
    for _ in range(draw(st.integers(0, 2))):
        turns.append(draw(_user_turns(results)))
        calls = [
            ToolCall(f"{draw(st.sampled_from(('call_', 'a:b.', 'sc64_')))}{next(numbers)}", *rest)
            for rest in draw(st.lists(st.tuples(_NAMES, _ARGUMENTS), max_size=3))
        ]
        said = (Text(draw(TEXTS)),) if not calls or draw(st.booleans()) else ()
        turns.append(Message(Role.ASSISTANT, (*said, *calls)))
        results = tuple(
            ToolResult(call.id, (Text(draw(TEXTS)),), is_error=draw(st.booleans()))
            for call in calls
        )
    turns.append(draw(_user_turns(results)))
    return tuple(turns)


@st.composite
def _user_turns(draw: st.DrawFn, results: tuple[Part, ...]) -> Message:
    pictures = draw(st.lists(st.sampled_from(_PICTURES), max_size=2))
    words: tuple[Part, ...] = (Text(draw(TEXTS)), *pictures)
    silent = bool(results) and draw(st.booleans())
    return Message(Role.USER, results if silent else (*results, *words))


_SHARES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
_SAMPLING = st.builds(
    Sampling,
    temperature=st.none() | st.sampled_from([0.0, 0.25, 0.5]),
    top_p=st.none() | _SHARES,
    top_k=st.none() | st.integers(1, 100),
    min_p=st.none() | _SHARES,
    seed=st.none() | st.integers(0, 1000),
    frequency_penalty=st.none() | _SHARES,
    presence_penalty=st.none() | _SHARES,
    repeat_penalty=st.none() | st.sampled_from([0.5, 1.0, 1.5]),
    logit_bias=st.none() | st.just({"50256": -100}),
)
_REASONING = st.sampled_from(
    [
        None,
        Reasoning(Effort.NONE),
        Reasoning(Effort.LOW),
        Reasoning(Effort.HIGH),
        Reasoning(budget=6000),
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    """A request that says many things at once."""
    messages = draw(conversations())
    called = {part.name for turn in messages for part in turn.parts if isinstance(part, ToolCall)}
    offered = sorted(called | draw(st.sets(_NAMES, max_size=2)))
    choices = [None, *(ToolChoice(one) for one in Choosing if one is not Choosing.NAMED)]
    choices += [ToolChoice(Choosing.NAMED, name) for name in offered]
    output = draw(st.sampled_from([None, JsonOutput(SCHEMA, "answer"), JsonOutput()]))
    if output and not output.schema:
        messages = _asking_for_json(messages)
    return ChatRequest(
        messages=messages,
        tools=tuple(Tool(name, draw(st.none() | TEXTS), SCHEMA) for name in offered),
        tool_choice=draw(st.sampled_from(choices)) if offered else None,
        parallel_tool_calls=draw(st.sampled_from([None, True, False])) if offered else None,
        output=output,
        reasoning=draw(_REASONING),
        sampling=draw(_SAMPLING),
        max_tokens=draw(st.none() | st.integers(1, 16_000)),
        stop=tuple(draw(st.lists(TEXTS, max_size=4, unique=True))),
        user=draw(st.none() | st.just("user-1")),
    )


def _asking_for_json(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Some vendors want the user to say the word."""
    at = next(at for at, turn in enumerate(messages) if turn.role is Role.USER)
    first, *rest = messages[at].parts
    assert isinstance(first, Text)
    turn = Message(Role.USER, (Text(f"{first.text} In JSON."), *rest))
    return (*messages[:at], turn, *messages[at + 1 :])


# --- answers --------------------------------------------------------------------------------------


@st.composite
def _usage(draw: st.DrawFn) -> Usage:
    cached, written, reasoning = (draw(st.integers(0, 1000)) for _ in range(3))
    more, words = (draw(st.integers(1, 1000)) for _ in range(2))
    return Usage(cached + written + more, reasoning + words, cached, reasoning, written)


def as_issued(signature: str, issuer: str) -> str:
    """A signature as a decoder of its issuer gives it: some belong to an item with an id."""
    return f"rs_1.{signature}" if issuer == "openai-responses" else signature


@st.composite
def _thinking(draw: st.DrawFn) -> Thinking:
    signature = draw(st.none() | _SIGNATURES)
    if signature is None:
        return Thinking(draw(TEXTS))
    issuer = draw(st.sampled_from(ISSUERS))
    signature = as_issued(signature, issuer)
    if draw(st.integers(0, 3)) == 0:
        return Thinking("", signature, issuer, redacted=True)
    return Thinking(draw(TEXTS), signature, issuer)


@st.composite
def answers(draw: st.DrawFn) -> ChatResponse:
    """A whole answer: thinking, then words, then calls; or a refusal."""
    thoughts: list[AnswerPart] = draw(st.lists(_thinking(), max_size=1))
    sequence = None
    if draw(st.integers(0, 5)) == 0:
        parts: list[AnswerPart] = [Refusal(draw(TEXTS))]
        stop = StopReason.REFUSAL
    else:
        calls = [
            ToolCall(f"call_{place}", draw(_NAMES), draw(_ARGUMENTS))
            for place in range(draw(st.integers(0, 3)))
        ]
        words = [Text(draw(TEXTS))] if not calls or draw(st.booleans()) else []
        parts = [*thoughts, *words, *calls]
        ends = [StopReason.END, StopReason.MAX_TOKENS, StopReason.STOP_SEQUENCE]
        stop = StopReason.TOOL_CALLS if calls else draw(st.sampled_from(ends))
        sequence = draw(TEXTS) if stop is StopReason.STOP_SEQUENCE else None
    usage = draw(_usage())
    return ChatResponse(tuple(parts), stop, sequence, usage, id="answer-1", model="m-1")


@st.composite
def streams(draw: st.DrawFn) -> tuple[ChatResponse, list[Event]]:
    """An answer, and one of the many streams that tell it."""
    answer = draw(answers())
    events: list[Event] = []
    for event in unfolded(answer):
        if isinstance(event, PartDelta):
            events += _in_pieces(event.text, draw(st.sets(st.integers(1, 20), max_size=4)))
        elif isinstance(event, MessageEnd):
            events.append(event)
        else:
            events += [event, Ping()] if draw(st.integers(0, 9)) == 0 else [event]
    if draw(st.booleans()) and answer.usage is not None:
        events.insert(1, UsageReport(Usage(answer.usage.input_tokens, 0)))
    return answer, events


def _in_pieces(text: str, places: set[int]) -> list[Event]:
    ends = sorted({0, len(text), *(place for place in places if place < len(text))})
    return [PartDelta(text[start:end]) for start, end in pairwise(ends)]
