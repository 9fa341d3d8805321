"""A backend whose HTTP can be read in two ways: never a mixed answer, nor a poisoned connection."""

from __future__ import annotations

import pytest

from tests.e2e.client import chat
from tests.e2e.harness import Sidecar, chain
from tests.fakes import answers
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRAY_BODY = answers.dump(
    {
        "id": "x",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "STRAY"},
                "finish_reason": "stop",
            }
        ],
    }
)
STRAY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    % len(STRAY_BODY)
    + STRAY_BODY
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"


def right(seen: Seen) -> bytes:
    """The body of a right answer."""
    steps = b.well()(Seen(seen.backend, "POST", seen.target, [], b'{"model":"m"}', 0.0, 0))
    sent = b"".join(step.data for step in steps if isinstance(step, b.Send))
    return sent.partition(b"\r\n\r\n")[2]


def told(fields: bytes, before: bytes = b"", after: bytes = b"") -> b.Behaviour:
    """A right answer, its body between these bytes, and a stray one behind it."""

    def play(seen: Seen) -> b.Steps:
        body = right(seen)
        filled = [
            each.replace(b"SIZE", b"%d" % len(body)).replace(b"HEX", b"%x" % len(body))
            for each in (fields, before, after)
        ]
        return (b.Send(HEAD + filled[0] + b"\r\n" + filled[1] + body + filled[2] + STRAY),)

    return play


END = b"\r\n0\r\n\r\n"
ANSWERS = {
    "both lengths": told(b"content-length: SIZE\r\n" + CHUNKED, b"HEX\r\n", END),
    "both lengths, coding first": told(CHUNKED + b"content-length: 5\r\n", b"HEX\r\n", END),
    "two lengths": told(b"content-length: SIZE\r\ncontent-length: 5\r\n"),
    "a list of lengths": told(b"content-length: SIZE, 5\r\n"),
    "a length with a plus": told(b"content-length: +SIZE\r\n"),
    "a negative length": told(b"content-length: -1\r\n"),
    "a length past 64 bits": told(b"content-length: 99999999999999999999999\r\n"),
    "a length that is short": told(b"content-length: 5\r\n"),
    "an unknown coding": told(b"transfer-encoding: xchunked\r\n", b"HEX\r\n", END),
    "chunked before another coding": told(
        b"transfer-encoding: chunked, identity\r\n", b"HEX\r\n", END
    ),
    "a size with 0x": told(CHUNKED, b"0xHEX\r\n", END),
    "a negative size": told(CHUNKED, b"-HEX\r\n", END),
    "a size past 64 bits": told(CHUNKED, b"ffffffffffffffff1\r\n", END),
    "a chunk that is longer than its size": told(CHUNKED, b"5\r\n", END),
    "a chunk without an end": told(CHUNKED, b"HEX\r\n", b"0\r\n\r\n"),
    "a folded length": told(b"content-length:\r\n SIZE\r\n"),
    "NUL in a field": told(b"content-length: SIZE\r\nx: a\x00b\r\n"),
    "a field without colon": told(b"content-length: SIZE\r\nnonsense\r\n"),
    "nothing odd, and a stray answer behind it": told(b"content-length: SIZE\r\n"),
}


@pytest.mark.parametrize("behaviour", ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_odd_answer_is_a_whole_one_or_none(
    shared: Sidecar, behaviour: b.Behaviour
) -> None:
    p, f = Backend("p", behaviour, behaviour), Backend("f")
    async with p, f, shared.playing(chain(p, f)) as sidecar:
        for _ in range(4):
            got = await sidecar.ask(chat())
            assert got.status == 200
            assert got.text in {text_of("p"), text_of("f")}
            assert b"STRAY" not in got.raw
        assert len(p.requests) >= 2


@pytest.mark.parametrize("name", ["two lengths", "a size with 0x", "an unknown coding"])
async def test_with_nowhere_to_go_it_is_an_error(shared: Sidecar, name: str) -> None:
    p = Backend("p", rest=ANSWERS[name])
    async with p, shared.playing(chain(p, retry={"attempts": 0})) as sidecar:
        got = await sidecar.ask(chat())
        assert got.status == 502
        assert got.code in {"protocol", "truncated"}
