"""Events into the vendor's stream, read by the vendor's own client."""

from collections.abc import Sequence

import anthropic
import httpx2
import pytest
from anthropic.types import Message, RawMessageStreamEvent

from sidecar.dialects.anthropic_messages.encoder import AnthropicEncoder
from sidecar.dialects.anthropic_messages.response import encode_response
from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
    StreamFailed,
    UsageReport,
)
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.fold import unfolded
from sidecar.wire.framing import SseFramer, frame_data
from tests.sidecar.dialects.anthropic_messages.answers import context


def encode(events: Sequence[Event]) -> bytes:
    encoder = AnthropicEncoder(context())
    return b"".join(map(encoder.encode, events))


def told(raw: bytes) -> list[dict[str, object]]:
    """The data of each event; its name is its type."""
    found = []
    for frame in SseFramer().feed(raw):
        data = frame_data(frame)
        assert data is not None
        parsed = json.loads(data)
        assert frame.startswith(f"event: {parsed['type']}\n".encode())
        found.append(parsed)
    return found


def client(raw: bytes) -> anthropic.Anthropic:
    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        return httpx2.Response(200, headers=headers, content=raw)

    return anthropic.Anthropic(
        api_key="k",
        base_url="http://sidecar",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )


def read(raw: bytes) -> Message:
    """What the vendor's client makes of a stream."""
    with (
        client(raw) as sdk,
        sdk.messages.stream(
            model="m", max_tokens=5, messages=[{"role": "user", "content": "Hello"}]
        ) as stream,
    ):
        return stream.get_final_message()


def raw_events(raw: bytes) -> list[RawMessageStreamEvent]:
    with client(raw) as sdk:
        stream = sdk.messages.create(
            model="m", max_tokens=5, messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        return list(stream)


PARTS = (
    Thinking("t", "S", "anthropic"),
    Thinking("", "D", "openai-responses", redacted=True),
    Text("Hello"),
    ToolCall("a", "f", '{"b":[1,null]}'),
    Opaque("openai-responses", "x", {}),
    ToolCall("b", "g", ""),
    Opaque("anthropic", "server_tool_use",
           {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
    Text("Bye"),
)  # fmt: skip


def test_the_vendors_client_reads_the_answer_that_was_given() -> None:
    usage = Usage(125, 9, 100, 4, 20)
    answer = ChatResponse(PARTS, StopReason.TOOL_CALLS, None, usage, "msg_1", "m")
    found = read(encode(list(unfolded(answer))))
    whole = Message.model_validate(encode_response(answer, context()))
    assert found.to_dict(exclude_unset=False) == whole.to_dict(exclude_unset=False) | {
        "content": found.to_dict(exclude_unset=False)["content"]
    }
    assert [block.to_dict() for block in found.content] == [
        block.to_dict() for block in whole.content
    ]


@pytest.mark.parametrize("stop", StopReason)
def test_every_end_is_one_for_the_vendors_client(stop: StopReason) -> None:
    answer = ChatResponse((Text("a"),), stop, "END", Usage(1, 2))
    found = read(encode(list(unfolded(answer))))
    assert found.stop_reason == encode_response(answer, context())["stop_reason"]
    assert found.stop_sequence == "END"


def test_every_event_is_one_of_the_vendors() -> None:
    events = raw_events(encode(list(unfolded(ChatResponse(PARTS, StopReason.END, usage=None)))))
    for one in events:
        type(one).model_validate(one.to_dict())
    starts = [one.index for one in events if one.type == "content_block_start"]
    assert starts == list(range(len(starts)))


def test_the_order() -> None:
    answer = ChatResponse((Text("a"), ToolCall("i", "f", "{}")), StopReason.END, usage=Usage(1, 2))
    assert [(event["type"], event.get("index")) for event in told(encode([*unfolded(answer)]))] == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("message_delta", None),
        ("message_stop", None),
    ]


def test_the_beginning() -> None:
    (event,) = told(encode([MessageStart("chatcmpl-1", "", None)]))
    assert event["message"] == {
        "id": "msg_n1", "type": "message", "role": "assistant", "model": "asked", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {
            "input_tokens": 7, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": 0,
        },
    }  # fmt: skip


def test_the_end_tells_the_tokens_that_are_known_by_then() -> None:
    events = told(
        encode([MessageStart(), UsageReport(Usage(9, 3, 4)), MessageEnd(StopReason.MAX_TOKENS)])
    )
    assert events[-2:] == [
        {
            "type": "message_delta",
            "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
            "usage": {
                "input_tokens": 5,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 4,
                "output_tokens": 3,
            },
        },
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([PartStart(Text("")), PartEnd()], [], id="a text that says nothing"),
        pytest.param([PartStart(Thinking("")), PartEnd()], [], id="nor does this thinking"),
        pytest.param(
            [PartStart(Opaque("openai", "x", {})), PartEnd()], [], id="another dialect's own"
        ),
        pytest.param(
            [PartStart(Thinking("")), PartEnd("S", "anthropic")],
            [
                ("content_block_start", {"type": "thinking", "thinking": "", "signature": ""}),
                ("content_block_delta", {"type": "signature_delta", "signature": "S"}),
                ("content_block_stop", None),
            ],
            id="thinking that is signed and not shown",
        ),
        pytest.param(
            [PartStart(Thinking("")), PartDelta("t"), PartEnd()],
            [
                ("content_block_start", {"type": "thinking", "thinking": "", "signature": ""}),
                ("content_block_delta", {"type": "thinking_delta", "thinking": "t"}),
                (
                    "content_block_delta",
                    {"type": "signature_delta", "signature": "llm-sidecar.."},
                ),
                ("content_block_stop", None),
            ],
            id="thinking of another vendor",
        ),
        pytest.param(
            [PartStart(ToolCall("é", "f", "")), PartEnd()],
            [
                (
                    "content_block_start",
                    {"type": "tool_use", "id": "sc64_w6k", "name": "f", "input": {}},
                ),
                ("content_block_stop", None),
            ],
            id="a call without arguments",
        ),
        pytest.param([Ping()], [("ping", None)], id="a ping"),
    ],
)
def test_parts(events: list[Event], expected: list[object]) -> None:
    found = told(encode([MessageStart(), *events]))[1:]
    assert [
        (one["type"], one.get("content_block") or one.get("delta")) for one in found
    ] == expected


def test_a_refusal_is_text_that_ends_as_one() -> None:
    parts: list[Event] = [PartStart(Refusal("")), PartDelta("No."), PartEnd()]
    found = read(encode([MessageStart(), *parts, MessageEnd(StopReason.END)]))
    assert found.stop_reason == "refusal"
    assert [block.to_dict() for block in found.content] == [{"type": "text", "text": "No."}]


@pytest.mark.parametrize(
    "before",
    [[], [MessageStart()], [MessageStart(), PartStart(Text("")), PartDelta("a")]],
    ids=["at once", "begun", "in a text"],
)
def test_a_failure_is_the_last_word(before: list[Event]) -> None:
    problem = Problem(ProblemKind.OVERLOADED, "Too much to do.")
    raw = encode([*before, StreamFailed(problem)])
    assert told(raw)[-1]["type"] == "error"
    with pytest.raises(anthropic.APIStatusError, match=r"Too much to do\."):
        read(raw)
