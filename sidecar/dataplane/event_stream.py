"""The frames of a streamed answer as they come, each read by the dialect's tap.

Frames that say nothing of use are left out (junk, usage that nobody asked for). A stream ends well
only when its answer is complete; a failure is told after the good frames before it.
"""

from collections.abc import AsyncIterator

from sidecar.dataplane.upstream import RawReply
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.wire.contract import Reading, Tap
from sidecar.wire.framing import FrameTooLarge, SseFramer

AFTER_FINISH = 1.0  # seconds to wait for usage and end marker of an answer that is complete
AFTER_USAGE = 0.2  # seconds to wait for the end marker alone

_TELLING = frozenset((Reading.CONTENT, Reading.FINISH))
_CUT = Problem(ProblemKind.TRUNCATED, "ended its stream before the answer was complete")


class EventStream:
    """Iterates over batches of frames to pass on; `first` is what has been read already.

    Raises AttemptFailed where the stream breaks. A loop may be left and taken up again.
    """

    def __init__(self, reply: RawReply, first: bytes, tap: Tap, *, keep_usage: bool) -> None:
        self._reply = reply
        self._first = first
        self._framer = SseFramer()
        self._keep_usage = keep_usage
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
            # a last event without its blank line counts if it is whole
            rest = self._framer.rest().strip()
            frames = [rest + b"\n\n"] if rest else []
        passed = self._read(frames)
        self._is_over = self._is_over or self.is_done
        if self.tap.finished and not self._is_ending:
            self._is_ending = True
            self._reply.limit_gap(AFTER_FINISH if self.tap.usage is None else AFTER_USAGE)
        return passed

    def _read(self, frames: list[bytes]) -> list[bytes]:
        """The frames to pass on, up to one that tells of a failure."""
        passed = []
        for frame in frames:
            match self.tap.read(frame):
                case Reading.FAILURE:
                    self._failure = self.tap.problem
                    break
                case Reading.MALFORMED:
                    self.skipped += 1
                case Reading.USAGE if not self._keep_usage:
                    pass
                case Reading.DONE:
                    if not self.tap.finished:  # never a clean end of an answer that is not whole
                        self._failure = _CUT
                        break
                    self.is_done = True
                    passed.append(frame)
                case reading:
                    self.tells = self.tells or reading in _TELLING
                    passed.append(frame)
        return passed

    def check_failure(self) -> None:
        """Raises AttemptFailed where a frame told of a failure; those before it are still good."""
        if self._failure is not None:
            raise AttemptFailed(self._failure)

    def check_end(self) -> None:
        """Raises AttemptFailed where the stream ended before its answer did."""
        if not self.tap.finished:
            raise AttemptFailed(_CUT)
