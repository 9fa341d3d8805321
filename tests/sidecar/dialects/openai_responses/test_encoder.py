"""The encoder of streams, and what the official client makes of them."""

from typing import Any

import httpx2
import openai
import pytest

from sidecar.dialects.openai_responses import DIALECT
from sidecar.neutral.events import (
    Event,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
    StreamFailed,
)
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import ChatRequest, Opaque, Text, ToolCall
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.wire.fold import folded, unfolded
from sidecar.wire.framing import SseFramer
from tests.sidecar.dialects.openai_responses.crossing import (
    ANSWERS,
    ASKED,
    GROUPED,
    USAGE,
    WITH_TOOLS,
    context,
    decoded,
    encoded,
    told,
)

DOWN = Problem(ProblemKind.OVERLOADED, "The backend is down.")
EACH_ANSWER = pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.stop)


def client_of(body: bytes) -> openai.OpenAI:
    """The official client in front of one answer."""
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body, headers=headers))
    return openai.OpenAI(
        api_key="none", max_retries=0, http_client=httpx2.Client(transport=transport)
    )


# --- the order of events --------------------------------------------------------------------------


def test_a_text_is_told_in_the_order_of_the_vendor() -> None:
    events = told(encoded(unfolded(ANSWERS[0])))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


def test_reasoning_and_calls_are_told_in_the_order_of_the_vendor() -> None:
    kinds = [event["type"].removeprefix("response.") for event in told(_stream(ANSWERS[4]))]
    assert kinds[2:8] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert kinds[-13:-1] == [
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
    ] * 2 + [
        *("output_item.added", "custom_tool_call_input.delta"),
        *("custom_tool_call_input.done", "output_item.done"),
    ]


@EACH_ANSWER
def test_events_are_numbered_and_items_have_dense_places(answer: ChatResponse) -> None:
    events = told(_stream(answer))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["output_index"] for event in added] == list(range(len(answer.parts)))


@EACH_ANSWER
def test_every_event_bears_its_type_as_its_name(answer: ChatResponse) -> None:
    for one in SseFramer().feed(_stream(answer)):
        (event,) = told(one)
        assert one.startswith(f"event: {event['type']}\n".encode())


# --- what it says ---------------------------------------------------------------------------------


def _stream(answer: ChatResponse) -> bytes:
    return encoded(unfolded(answer), WITH_TOOLS)


@EACH_ANSWER
def test_what_is_encoded_is_decoded_to_the_same(answer: ChatResponse) -> None:
    again = folded(decoded(SseFramer().feed(_stream(answer)), WITH_TOOLS))
    assert (again.parts, again.stop, again.usage) == (answer.parts, answer.stop, answer.usage)


@EACH_ANSWER
def test_the_last_event_holds_what_a_whole_answer_would(answer: ChatResponse) -> None:
    last = told(_stream(answer))[-1]["response"]
    whole = DIALECT.encode_response(answer, context(WITH_TOOLS))
    again = DIALECT.decode_response(whole, context(WITH_TOOLS))
    assert DIALECT.decode_response(last, context(WITH_TOOLS)).parts == again.parts == answer.parts
    names = {"output", "id"}
    assert {k: v for k, v in last.items() if k not in names} == {
        k: v for k, v in whole.items() if k not in names
    }


def test_a_call_without_arguments_gets_an_empty_object() -> None:
    start = PartStart(ToolCall("call_1", "weather", ""))
    events = told(encoded([MessageStart(), start, PartEnd()], WITH_TOOLS))
    assert [event["arguments"] for event in events if "arguments" in event] == ["{}"]
    assert [event["delta"] for event in events if "delta" in event] == ["{}"]


def test_the_input_of_a_custom_tool_is_told_as_free_text() -> None:
    """The backend may speak a dialect that has none, and gave its arguments in pieces."""
    call = PartStart(ToolCall("call_1", "apply_patch", ""))
    pieces = [PartDelta('{"inp'), PartDelta('ut":"a\\n'), PartDelta('b"}')]
    events = told(encoded([MessageStart(), call, *pieces, PartEnd()], WITH_TOOLS))
    assert [event["delta"] for event in events if "delta" in event] == ["a\nb"]
    item = events[-1]["item"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "a\nb")


@pytest.mark.parametrize("flat", GROUPED)
def test_a_call_goes_back_into_its_namespace(flat: str) -> None:
    request = ChatRequest(ASKED.messages, tools=tuple(GROUPED.values()))
    answer = ChatResponse((ToolCall("call_1", flat, '{"input":"a"}'),), StopReason.TOOL_CALLS)
    whole: Any = DIALECT.encode_response(answer, context(request))
    frames = told(encoded(unfolded(answer), request))
    items = [each["item"] for each in frames if "item" in each]
    assert [item["status"] for item in items] == ["in_progress", "completed"]
    for item in (*whole["output"], *items):
        assert (item["namespace"], item["name"]) == GROUPED[flat].origin
    assert frames[-1]["response"]["output"][0] == items[-1]


def test_what_a_foreign_server_did_is_left_out() -> None:
    foreign = Opaque("anthropic", "server_tool_use", {"type": "server_tool_use"})
    answer = ChatResponse((foreign, Text("a")), StopReason.END)
    response = told(encoded(unfolded(answer)))[-1]["response"]
    assert [item["type"] for item in response["output"]] == ["message"]
    whole = DIALECT.encode_response(answer, context())
    assert whole["output"] == [{**response["output"][0], "id": "msg_1"}]


def test_a_ping_keeps_the_connection_alive() -> None:
    assert encoded([Ping()]) == b": keepalive\n\n"


# --- failures -------------------------------------------------------------------------------------


def test_a_failure_ends_the_response_that_was_created() -> None:
    begun: list[Event] = [MessageStart("resp_1", "small"), PartStart(Text("")), PartDelta("Gr")]
    events = told(encoded([*begun, StreamFailed(DOWN)]))
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["id"] == events[0]["response"]["id"] == "resp_1"
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"] == {
        "code": "server_is_overloaded",
        "message": "The backend is down.",
    }


def test_a_failure_at_once_creates_the_response_that_fails() -> None:
    events = told(encoded([StreamFailed(DOWN)]))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.failed",
    ]


# --- the official client --------------------------------------------------------------------------


@EACH_ANSWER
def test_the_official_client_reads_a_stream_to_its_end(answer: ChatResponse) -> None:
    with client_of(_stream(answer)).responses.stream(model="small", input="Grüezi") as stream:
        last = list(stream)[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.status in ("completed", "incomplete")
    assert len(last.response.output) == len(answer.parts)
    assert last.response.usage is not None
    assert last.response.usage.input_tokens == USAGE.input_tokens
    assert last.response.output_text == "".join(
        part.text for part in answer.parts if isinstance(part, Text)
    )


@EACH_ANSWER
def test_every_event_is_what_the_official_types_say(answer: ChatResponse) -> None:
    """The client builds its types unchecked; here they are checked."""
    events = client_of(_stream(answer)).responses.create(model="small", input="Grüezi", stream=True)
    for event in events:
        type(event).model_validate(event.to_dict())


def test_the_official_client_reads_calls() -> None:
    with client_of(_stream(ANSWERS[4])).responses.stream(model="small", input="a") as stream:
        response = stream.get_final_response()
    calls = [item for item in response.output if item.type == "function_call"]
    assert [call.arguments for call in calls] == ['{"city":"Zürich"}', "{}"]
    (patch,) = [item for item in response.output if item.type == "custom_tool_call"]
    assert patch.input == '*** Begin "Patch"\n'


@pytest.mark.parametrize("begun", [[], [MessageStart(), PartStart(Text("")), PartDelta("Gr")]])
def test_the_official_client_is_told_of_a_failure(begun: list[Event]) -> None:
    body = encoded([*begun, StreamFailed(DOWN)])
    with client_of(body).responses.stream(model="small", input="a") as stream:
        last = list(stream)[-1]
        assert last.type == "response.failed"
        with pytest.raises(RuntimeError, match=r"response\.completed"):
            stream.get_final_response()
    assert last.response.error is not None and last.response.error.message == DOWN.message


def test_the_official_client_reads_a_whole_answer() -> None:
    body = DIALECT.encode_response(ANSWERS[4], context(WITH_TOOLS))
    response = openai.types.responses.Response.model_validate(body)
    assert response.output_text == "Let me look."
    assert [tool.type for tool in response.tools] == ["function", "custom"]
