"""Frames are the same however the bytes are cut, and nothing of them changes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire import framing
from sidecar.wire.framing import FrameTooLarge, SseFramer, frame_data, sse

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


def framed(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    framer = SseFramer()
    frames = [frame for piece in pieces for frame in framer.feed(piece)]
    return frames, framer.rest()


@given(
    events=st.lists(st.sampled_from(EVENTS), max_size=8),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    places=st.lists(st.integers(0, 500), max_size=20),
    tail=st.sampled_from([b"", b"data: half"]),
)
def test_any_cutting_gives_the_same_frames(
    events: list[bytes], newline: bytes, places: list[int], tail: bytes
) -> None:
    written = [event.replace(b"\n", newline) + newline * 2 for event in events]
    stream = b"".join(written) + tail
    assert framed(cut(stream, places)) == (written, tail)


@given(stream=st.text("\r\n:da ", max_size=40).map(str.encode), places=st.lists(st.integers(0, 40)))
def test_cutting_changes_nothing_in_junk_either(stream: bytes, places: list[int]) -> None:
    frames, rest = framed(cut(stream, places))
    assert (frames, rest) == framed([stream])
    assert b"".join(frames) + rest == stream


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


@given(st.binary().filter(lambda data: not {10, 13} & set(data)))
def test_what_we_write_reads_back(data: bytes) -> None:
    frames, rest = framed([sse(data)])
    assert (frames, rest) == ([sse(data)], b"")
    assert frame_data(frames[0]) == data


def test_an_event_past_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "FRAME_LIMIT", 10)
    framer = SseFramer()
    assert framer.feed(b"data: 12\n\n" + b"data: 3456") == [b"data: 12\n\n"]
    with pytest.raises(FrameTooLarge, match="more than 10 bytes"):
        framer.feed(b"7")


def test_a_large_event_that_ends_is_a_frame() -> None:
    frame = b"data: " + b"x" * (2 * 1024 * 1024) + b"\n\n"
    framer = SseFramer()
    frames = [
        one
        for start in range(0, len(frame), 60_000)
        for one in framer.feed(frame[start : start + 60_000])
    ]
    assert frames == [frame]


def test_the_rest_is_taken_out() -> None:
    framer = SseFramer()
    framer.feed(b"data: half\n")
    assert framer.rest() == b"data: half\n"
    assert framer.rest() == b""
    assert framer.feed(b"\ndata: x\n\n") == [b"\ndata: x\n\n"]
