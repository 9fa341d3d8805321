"""The frames of a streamed answer as they come, each read by a tap that says what becomes of it.

A stream ends well only when its answer is complete; a failure is told after what was good before
it.
"""

from collections.abc import AsyncIterator

from sidecar.dataplane.upstream import RawReply
from sidecar.neutral.problem import CUT_OFF, AttemptFailed, Problem, ProblemKind
from sidecar.wire.contract import Reading, Tap
from sidecar.wire.framing import Framer, FrameTooLarge

AFTER_FINISH = 1.0  # seconds to wait for usage and end marker of an answer that is complete
AFTER_USAGE = 0.2  # seconds to wait for the end marker alone

_TELLING = frozenset((Reading.CONTENT, Reading.FINISH, Reading.DONE))


class EventStream:
    """Iterates over batches of frames for the client; `first` is what has been read already.

    Raises AttemptFailed where the stream breaks. A loop may be left and taken up again.
    """

    def __init__(self, reply: RawReply, first: bytes, framer: Framer, tap: Tap) -> None:
        self._reply = reply
        self._first = first
        self._framer = framer
        self._failure: Problem | None = None  # raised once the frames before it are passed on
        self._is_ending = False
        self._is_over = False
        self.tap = tap
        self.skipped = 0  # frames that were not JSON
        self.is_done = False  # the stream's own end marker has come
        self.tells = False  # something telling has come

    def __aiter__(self) -> AsyncIterator[list[bytes]]:
        return self

    async def __anext__(self) -> list[bytes]:
        self.check_failure()
        if self._is_over:
            raise StopAsyncIteration
        try:
            chunk = self._first or await self._reply.read()
            frames = self._framer.feed(chunk)
        except FrameTooLarge as error:
            raise AttemptFailed(Problem(ProblemKind.PROTOCOL, f"sent {error}")) from None
        except AttemptFailed:
            if not self.tap.finished:
                raise
            # the answer is complete; what broke is only the silence behind it
            raise StopAsyncIteration from None
        self._first = b""
        if not chunk:
            self._is_over = True
            # a last frame without its end counts if it is whole
            rest = self._framer.rest()
            frames = [rest] if rest else []
        passed = self._read(frames)
        self._is_over = self._is_over or self.is_done
        if self.tap.finished and not self._is_ending:
            self._is_ending = True
            self._reply.limit_gap(AFTER_FINISH if self.tap.usage is None else AFTER_USAGE)
        return passed

    def _read(self, frames: list[bytes]) -> list[bytes]:
        """What the client gets for the frames, up to one that tells of a failure."""
        passed = []
        for frame in frames:
            reading, told = self.tap.read(frame)
            if reading is Reading.DONE and not self.tap.finished:
                self._failure = CUT_OFF  # never a clean end of an answer that is not whole
                break
            if told and reading is not Reading.FAILURE:
                passed.append(told)
            if self.tap.problem is not None:
                self._failure = self.tap.problem  # the client is told in our words
                break
            self.skipped += reading is Reading.MALFORMED
            self.is_done = self.is_done or reading is Reading.DONE
            self.tells = self.tells or reading in _TELLING
        return passed

    def check_failure(self) -> None:
        """Raises AttemptFailed where a frame told of a failure; those before it are still good."""
        if self._failure is not None:
            raise AttemptFailed(self._failure)

    def check_end(self) -> None:
        """Raises AttemptFailed where the stream ended before its answer did."""
        if not self.tap.finished:
            raise AttemptFailed(CUT_OFF)
