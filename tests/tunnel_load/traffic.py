"""Visitors of the public name: so many requests a second in an open loop, streams all the time.

An answer is right where its bytes are those that were heard before the load began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

import aiohttp

from tests.e2e.client import chat
from tests.e2e.tunnel.exposed import KEY
from tests.fakes import answers, voices
from tests.fakes import behaviours as b
from tests.fakes.seen import Seen

WORDS = 20
STREAM = 3.0  # seconds that a stream takes
AGAIN = 0.05  # seconds, after a stream that failed
MOST = 500  # requests under way; more than a machine in working order ever holds


def speaks(seen: Seen) -> b.Steps:
    """A backend that streams in its own time, and answers whole ones at once."""
    said = answers.words(seen.backend, WORDS)
    if not seen.streamed:
        return b.well(said)(seen)
    frames = voices.of(seen).speech(seen, said, "on_request").frames
    pause = b.Pause(STREAM / len(frames))
    steps = [step for frame in frames for step in (b.Send(b.chunked(frame)), pause)]
    return (b.stream_head(), *steps, b.Send(b.END))


@dataclass(slots=True)
class Visit:
    """One request. Moments are seconds of the loop's clock; `status` is 0 where none came."""

    streamed: bool
    began: float
    ended: float = 0.0
    status: int = 0
    wrong: str = ""  # what is wrong with it

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Traffic:
    """`rate` requests a second and `streams` at a time, until `over` is set."""

    def __init__(self, http: aiohttp.ClientSession, rate: float, streams: int) -> None:
        self._http, self._rate, self._streams = http, rate, streams
        self._right: dict[bool, bytes] = {}
        self._now = asyncio.get_running_loop().time
        self.visits: list[Visit] = []
        self.under_way = 0  # requests
        self.left_out = 0  # requests that were not sent, for too many were under way
        self.over = asyncio.Event()
        self.open = 0  # streams of which something was heard
        self.lateness = 0.0  # seconds that a request left too late, at most

    async def run(self) -> None:
        """Raises nothing: what came of it is in `visits`."""
        self._right = {streamed: await self._hear(streamed) for streamed in (False, True)}
        async with asyncio.TaskGroup() as group:
            for number in range(self._streams):
                group.create_task(self._stream_on(STREAM * number / self._streams))
            began = self._now()
            for number in count():
                due = began + number / self._rate
                await asyncio.sleep(due - self._now())
                if self.over.is_set():
                    return
                self.lateness = max(self.lateness, self._now() - due)
                if self.under_way < MOST:
                    group.create_task(self._ask())
                else:
                    self.left_out += 1

    async def _ask(self) -> None:
        self.under_way += 1
        await self._visit(streamed=False)
        self.under_way -= 1

    async def _stream_on(self, wait: float) -> None:
        await asyncio.sleep(wait)
        while not self.over.is_set():
            if (await self._visit(streamed=True)).wrong:
                await asyncio.sleep(AGAIN)

    async def _hear(self, streamed: bool) -> bytes:
        async with self._post(streamed) as reply:
            raw = await reply.read()
            assert reply.status == 200, raw
            text = raw.decode()
            assert not streamed or text.endswith("data: [DONE]\n\n"), text
            assert all(word.strip() in text for word in answers.words("p", WORDS)), text
            return raw

    def _post(self, streamed: bool) -> aiohttp.client._RequestContextManager:
        body = chat(stream=streamed)
        return self._http.post("/v1/chat/completions", json=body, headers=KEY)

    async def _visit(self, *, streamed: bool) -> Visit:
        visit = Visit(streamed, self._now())
        self.visits.append(visit)
        raw = bytearray()
        try:
            async with self._post(streamed) as reply:
                visit.status = reply.status
                async for piece in reply.content.iter_any():
                    if streamed and not raw:
                        self.open += 1
                    raw += piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            visit.wrong = f"cut ({type(error).__name__})"
        else:
            if visit.status != 200:
                visit.wrong = f"status {visit.status}"
            elif raw != self._right[streamed]:
                visit.wrong = "other bytes"
        visit.ended = self._now()
        self.open -= streamed and bool(raw)
        return visit


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
