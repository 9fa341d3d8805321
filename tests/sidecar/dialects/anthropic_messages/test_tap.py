"""The tap beside a relay: what frames say, and which bytes the client gets."""

import anthropic
import httpx2
import pytest
from anthropic.types import MessageParam
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.anthropic_messages.tap import AnthropicTap
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Reading
from sidecar.wire.framing import sse
from tests.sidecar.dialects.anthropic_messages.answers import (
    FACTS,
    adds,
    closes,
    ends,
    event,
    opens,
    start,
    text,
)

R = Reading


def tap() -> AnthropicTap:
    return AnthropicTap(FACTS)


@pytest.mark.parametrize(
    ("frame", "reading"),
    [
        pytest.param(start(), R.GREETING, id="start"),
        pytest.param(event("ping"), R.GREETING, id="ping"),
        pytest.param(opens(0, type="text", text=""), R.GREETING, id="text begins"),
        pytest.param(
            opens(0, type="thinking", thinking="", signature=""), R.GREETING, id="thinking begins"
        ),
        pytest.param(opens(0, type="text", text="a"), R.CONTENT, id="text begins with words"),
        pytest.param(
            opens(0, type="tool_use", id="a", name="f", input={}), R.CONTENT, id="a call begins"
        ),
        pytest.param(
            opens(0, type="redacted_thinking", data="D"), R.CONTENT, id="redacted thinking"
        ),
        pytest.param(adds(0, type="text_delta", text="a"), R.CONTENT, id="text"),
        pytest.param(adds(0, type="text_delta", text=""), R.GREETING, id="no text"),
        pytest.param(adds(0, type="thinking_delta", thinking="a"), R.CONTENT, id="thinking"),
        pytest.param(adds(0, type="signature_delta", signature="a"), R.CONTENT, id="signature"),
        pytest.param(adds(0, type="input_json_delta", partial_json="{"), R.CONTENT, id="input"),
        pytest.param(adds(0, type="new_delta"), R.GREETING, id="an unknown delta"),
        pytest.param(closes(0), R.GREETING, id="a block ends"),
        pytest.param(ends()[0], R.FINISH, id="a reason to stop"),
        pytest.param(
            event("message_delta", delta={}, usage={"output_tokens": 1}), R.GREETING, id="usage"
        ),
        pytest.param(ends()[1], R.DONE, id="the end"),
        pytest.param(event("brand_new"), R.GREETING, id="an unknown event"),
        pytest.param(b": comment\n\n", R.COMMENT, id="comment"),
        pytest.param(b"data: [DONE]\n\n", R.DONE, id="the end, as others say it"),
        pytest.param(b'event:ping\r\ndata:{"type":"ping"}\r\n\r\n', R.GREETING, id="CRLF"),
    ],
)
def test_what_a_frame_says(frame: bytes, reading: Reading) -> None:
    assert tap().read(frame) == (reading, frame)


@pytest.mark.parametrize("frame", [b"event: message_delta\n\n", b"event: ping\ndata:\n\n"])
def test_an_event_without_data_is_left_out(frame: bytes) -> None:
    assert tap().read(frame) == (R.COMMENT, b"")


@pytest.mark.parametrize("frame", [sse(b"{"), sse(b"[]"), sse(b"\xff")])
def test_junk_is_left_out(frame: bytes) -> None:
    assert tap().read(frame) == (R.MALFORMED, b"")


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (
            event("error", error={"type": "overloaded_error", "message": "x"}),
            ProblemKind.OVERLOADED,
        ),
        (event("error", error={"type": "api_error", "message": "x"}), ProblemKind.BACKEND_ERROR),
        (sse(b'{"type":"error","error":{"type":"rate_limit_error"}}'), ProblemKind.RATE_LIMITED),
        (sse(b'{"error":{"message":"x"}}'), ProblemKind.PROTOCOL),
        (b"event: error\ndata: oh\n\n", ProblemKind.PROTOCOL),
    ],
)
def test_failures_are_told_by_fail(frame: bytes, kind: ProblemKind) -> None:
    found = tap()
    assert found.read(frame) == (R.FAILURE, b"")
    assert found.problem is not None and found.problem.kind is kind
    assert not found.finished


def test_a_whole_stream() -> None:
    found = tap()
    frames = [start(), *text(0, "a"), *ends()]
    assert b"".join(found.read(frame)[1] for frame in frames) == b"".join(frames)
    assert (found.finished, found.model, found.usage) == (True, "m", Usage(5, 9))
    assert found.end() == b""


def test_the_end_is_added_where_it_is_missing() -> None:
    found = tap()
    for frame in [start(), *text(0, "a"), ends()[0]]:
        found.read(frame)
    assert found.finished
    assert found.end() == ends()[1]


def test_done_without_a_reason_proves_nothing() -> None:
    found = tap()
    found.read(start())
    found.read(b"data: [DONE]\n\n")
    assert not found.finished


def test_a_failure_has_the_vendors_shape() -> None:
    told = tap().fail(Problem(ProblemKind.TRUNCATED, "Cut."))
    assert told.startswith(b"event: error\ndata: ")
    assert json.loads(told.split(b"data: ")[1])["error"]["type"] == "api_error"


# --- mending --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        pytest.param(sse(b'{ "type":"ping"}'), event("ping"), id="no name"),
        pytest.param(
            event("message_start", message={"id": "i", "usage": None}),
            event(
                "message_start",
                message={
                    "id": "i",
                    "usage": {"input_tokens": 0, "output_tokens": 0},
                    "content": [],
                },
            ),
            id="no content, no usage",
        ),
        pytest.param(
            opens(0, type="tool_use", id="a", name="f"),
            opens(0, type="tool_use", id="a", name="f", input={}),
            id="no input",
        ),
        pytest.param(opens(0, type="text"), opens(0, type="text", text=""), id="no text"),
        pytest.param(
            event("message_delta", delta={"stop_reason": "end_turn"}),
            event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 0}),
            id="no tokens",
        ),
    ],
)
def test_what_clients_would_stumble_on_is_mended(frame: bytes, expected: bytes) -> None:
    _, told = tap().read(frame)
    name, data = told.split(b"\ndata: ")
    expected_name, expected_data = expected.split(b"\ndata: ")
    assert (name, json.loads(data)) == (expected_name, json.loads(expected_data))


def test_the_vendors_client_reads_a_loose_stream() -> None:
    loose = [
        {"type": "message_start", "message": {"id": "i", "role": "assistant", "model": "m"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1,
         "content_block": {"type": "tool_use", "id": "t", "name": "f"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ]  # fmt: skip
    found = tap()
    told = b"".join(found.read(sse(json.dumps(one)))[1] for one in loose) + found.end()

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=told)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    asked: MessageParam = {"role": "user", "content": "Hello"}
    with (
        anthropic.Anthropic(api_key="k", base_url="http://sidecar", http_client=http) as sdk,
        sdk.messages.stream(model="m", max_tokens=5, messages=[asked]) as stream,
    ):
        whole = stream.get_final_message()
    assert [block.to_dict() for block in whole.content] == [
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    ]
    assert (whole.stop_reason, whole.usage.output_tokens) == ("tool_use", 0)


@given(st.lists(st.binary(max_size=60).map(lambda data: sse(data)) | st.binary(max_size=60)))
def test_no_frame_breaks_it(frames: list[bytes]) -> None:
    found = tap()
    for frame in frames:
        found.read(frame)
    assert not found.finished
