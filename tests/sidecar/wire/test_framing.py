"""Frames are the same however the bytes are cut, and nothing of them changes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire import framing
from sidecar.wire.framing import (
    LINES,
    SSE,
    Framer,
    FrameTooLarge,
    Framing,
    LineFramer,
    SseFramer,
    frame_data,
    sse,
)

EVENTS = [
    b"data: one",
    b": ping",
    b"event: x\ndata: a\ndata: b",
    b"data:tight",
    b"id: 7\ndata",
    b"retry: 1",
]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in pieces, cut at the places."""
    ends = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(ends)]


def framed(pieces: list[bytes], framer: Framer | None = None) -> tuple[list[bytes], bytes]:
    framer = framer or SseFramer()
    frames = [frame for piece in pieces for frame in framer.feed(piece)]
    return frames, framer.rest()


@given(
    events=st.lists(st.sampled_from(EVENTS), max_size=8),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    places=st.lists(st.integers(0, 500), max_size=20),
    tail=st.sampled_from([b"", b"data: half", b"data: half\n"]),
)
def test_any_cutting_gives_the_same_frames(
    events: list[bytes], newline: bytes, places: list[int], tail: bytes
) -> None:
    written = [event.replace(b"\n", newline) + newline * 2 for event in events]
    stream = b"".join(written) + tail
    rest = b"data: half\n\n" if tail else b""
    assert framed(cut(stream, places)) == (written, rest)


@given(stream=st.text("\r\n:da ", max_size=40).map(str.encode), places=st.lists(st.integers(0, 40)))
def test_cutting_changes_nothing_in_junk_either(stream: bytes, places: list[int]) -> None:
    frames, rest = framed(cut(stream, places))
    assert (frames, rest) == framed([stream])
    left = stream.removeprefix(b"".join(frames))
    assert rest == (left.strip() + b"\n\n" if left.strip() else b"")


@given(stream=st.text("\r\n{a} ", max_size=40).map(str.encode), places=st.lists(st.integers(0, 40)))
def test_cutting_lines_changes_nothing(stream: bytes, places: list[int]) -> None:
    frames, rest = framed(cut(stream, places), LineFramer())
    assert (frames, rest) == framed([stream], LineFramer())
    *ended, left = stream.split(b"\n")
    assert frames == [line + b"\n" for line in ended if line.strip()]
    assert rest == (left.strip() + b"\n" if left.strip() else b"")


def test_one_byte_at_a_time() -> None:
    stream = "data: é\r\n\r\ndata: 2\n\n".encode()
    assert framed([bytes([byte]) for byte in stream])[0] == [
        "data: é\r\n\r\n".encode(),
        b"data: 2\n\n",
    ]


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        pytest.param(b"data: {}\n\n", b"{}", id="usual"),
        pytest.param(b"data:{}\n\n", b"{}", id="no space"),
        pytest.param(b"data:  {}\n\n", b" {}", id="only one space is taken"),
        pytest.param(b"data: {}\r\n\r\n", b"{}", id="CRLF"),
        pytest.param(b"data: {}\r\r", b"{}", id="CR"),
        pytest.param(b"data: {}\r\n\n", b"{}", id="CRLF, then LF"),
        pytest.param(b"data: a\rdata: b\n\n", b"a\nb", id="CR, then LF"),
        pytest.param(b"\xef\xbb\xbfdata: {}\n\n", b"{}", id="BOM"),
        pytest.param(b"data: a\ndata: b\n\n", b"a\nb", id="many lines"),
        pytest.param(b"data: a\r\ndata: b\r\n\r\n", b"a\nb", id="many lines, CRLF"),
        pytest.param(b"event: x\nid: 1\ndata: a\n\n", b"a", id="other fields"),
        pytest.param(b": note\ndata: a\n\n", b"a", id="a comment before"),
        pytest.param(b"data\n\n", b"", id="a field without a colon"),
        pytest.param(b"data:\n\n", b"", id="empty"),
        pytest.param(b": ping\n\n", None, id="a comment"),
        pytest.param(b"event: ping\n\n", None, id="no data"),
        pytest.param(b"\n\n", None, id="blank"),
        pytest.param(b"database: x\n\n", None, id="another name"),
        pytest.param(b" data: x\n\n", None, id="a space before the name"),
    ],
)
def test_frame_data(frame: bytes, data: bytes | None) -> None:
    assert frame_data(frame) == data


@given(st.binary().filter(lambda data: not {10, 13} & set(data)), st.sampled_from(["", "ping"]))
def test_what_we_write_reads_back(data: bytes, event: str) -> None:
    frame = sse(data, event)
    frames, rest = framed([frame])
    assert (frames, rest) == ([frame], b"")
    assert frame_data(frame) == data
    assert frame.startswith(b"event: ping\ndata: " if event else b"data: ")


@pytest.mark.parametrize("framer", [SseFramer(), LineFramer()], ids=["events", "lines"])
def test_what_passes_the_limit_is_refused(framer: Framer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "FRAME_LIMIT", 10)
    assert framer.feed(b"data: 12\n\n" + b"data: 3456")[0].startswith(b"data: 12\n")
    with pytest.raises(FrameTooLarge, match="more than 10 bytes"):
        framer.feed(b"7")


@pytest.mark.parametrize("framer", [SseFramer(), LineFramer()], ids=["events", "lines"])
def test_a_large_event_that_ends_is_a_frame(framer: Framer) -> None:
    end = b"\n\n" if isinstance(framer, SseFramer) else b"\n"
    frame = b"data: " + b"x" * (2 * 1024 * 1024) + end
    frames = [
        one
        for start in range(0, len(frame), 60_000)
        for one in framer.feed(frame[start : start + 60_000])
    ]
    assert frames == [frame]


@pytest.mark.parametrize(
    ("framer", "half", "whole"),
    [
        pytest.param(SseFramer(), b"data: half\n", b"data: half\n\n", id="events"),
        pytest.param(SseFramer(), b"data: half\r\n", b"data: half\n\n", id="events, CRLF"),
        pytest.param(LineFramer(), b'{"done":true}', b'{"done":true}\n', id="lines"),
    ],
)
def test_the_rest_is_ended_and_taken_out(framer: Framer, half: bytes, whole: bytes) -> None:
    framer.feed(half)
    assert framer.rest() == whole
    assert framer.rest() == b""
    assert framer.feed(whole) == [whole]


@pytest.mark.parametrize(
    ("framing", "first", "kind", "asked", "is_stream"),
    [
        pytest.param(SSE, b"data: {}", "", True, True, id="an event"),
        pytest.param(SSE, b"event: x", "application/json", True, True, id="a wrong type"),
        pytest.param(SSE, b"\xef\xbb\xbf: hi", "", False, True, id="a comment behind a mark"),
        pytest.param(SSE, b"retry: 3", "text/event-stream", True, True, id="by its type"),
        pytest.param(SSE, b' {"id"', "text/event-stream", True, False, id="whole after all"),
        pytest.param(SSE, b"<html>", "text/event-stream", True, False, id="a page"),
        pytest.param(SSE, b"hello", "text/plain", True, False, id="words"),
        pytest.param(LINES, b'{"model"', "application/x-ndjson", True, True, id="lines"),
        pytest.param(LINES, b'{"model"', "application/json", True, True, id="lines, a wrong type"),
        pytest.param(LINES, b'{"model"', "application/x-ndjson", False, True, id="unasked lines"),
        pytest.param(LINES, b'{"model"', "application/json", False, False, id="an object"),
        pytest.param(LINES, b"<html>", "application/x-ndjson", True, False, id="no line"),
    ],
)
def test_is_stream(framing: Framing, first: bytes, kind: str, asked: bool, is_stream: bool) -> None:
    assert framing.is_stream(first, kind, asked) is is_stream
