"""A backend's stream → events.

A response is a list of items, told one after the other or interleaved. Only the first one that is
not done speaks; what comes for later ones waits for its turn. The whole texts that come with the
end of a text, of an item or of the response count where no piece of them has come before.

    no event yet → under way → ended by response.completed | incomplete → MessageEnd
                             → failed, or cut                           → StreamFailed
"""

from collections import deque

from sidecar.dialects.openai_responses.coming import TEXTS, ComingItem, Piece, piece_of
from sidecar.dialects.openai_responses.response import stop_of, usage
from sidecar.dialects.openai_responses.tap import (
    DONE,
    ENDED,
    UNDER_WAY,
    failure_in,
)
from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartStart,
    StreamFailed,
    UsageReport,
)
from sidecar.neutral.problem import CUT_OFF, Problem, ProblemKind
from sidecar.neutral.response import AnswerPart
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext
from sidecar.wire.framing import FRAME_LIMIT, frame_data
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in, objects_in, text_in

_TANGLED = Problem(ProblemKind.PROTOCOL, "began ever more items before it ended the first one")


class ResponsesDecoder:
    """Reads the stream of one answer."""

    def __init__(self, ctx: AnswerContext) -> None:
        self.malformed = 0
        self.finished = False  # the terminal event of the response was seen
        self._new_id = ctx.new_id
        self._items: dict[int, ComingItem] = {}  # by their index in the output
        self._queue: deque[ComingItem] = deque()  # those that are not told to their end
        self._held = 0  # characters that wait in the queue behind its first item
        self._said: set[type[AnswerPart]] = set()
        self._has_begun = False
        self._has_ended = False

    def read(self, frame: bytes) -> list[Event]:
        """The events that a frame completes; never raises."""
        data = frame_data(frame)
        if self._has_ended or data is None or data.strip() in (b"", DONE):
            return []
        event = json.loads_object(data)
        if event is None:
            self.malformed += 1
            return []
        if problem := failure_in(event):
            return self._fail(problem)
        kind = event.get("type")
        if kind in UNDER_WAY:
            return self._begin(object_in(event, "response"))
        if kind in ENDED:
            return self._end(object_in(event, "response"), is_cut=kind == "response.incomplete")
        return self._read_item(event)

    def close(self) -> list[Event]:
        """The input has ended; that is a failure unless the response has ended before."""
        return [] if self._has_ended else self._fail(CUT_OFF)

    def _begin(self, response: Json) -> list[Event]:
        if self._has_begun:
            return []
        self._has_begun = True
        return [MessageStart(text_in(response, "id"), text_in(response, "model"))]

    def _fail(self, problem: Problem) -> list[Event]:
        self._has_ended = True
        return [StreamFailed(problem)]

    def _end(self, response: Json, is_cut: bool) -> list[Event]:
        self.finished = self._has_ended = True
        if not self._items:
            for place, item in enumerate(objects_in(response, "output")):
                self._add(place, item)
        output = dict(enumerate(objects_in(response, "output")))
        for place, coming in self._items.items():
            item = output.get(place, {})
            if not coming.is_done:
                coming.finish(item if item.get("type") == coming.kind else {})
        events = [*self._begin(response), *self._told()]
        if (tokens := usage(response)) is not None:
            events.append(UsageReport(tokens))
        status = {"status": "incomplete"} if is_cut else {}
        return [*events, MessageEnd(stop_of({**response, **status}, self._said))]

    # --- items ------------------------------------------------------------------------------------

    def _read_item(self, event: Json) -> list[Event]:
        told = event.get("output_index")
        place = told if isinstance(told, int) else 0
        item = event.get("item")
        if event.get("type") == "response.output_item.added" and isinstance(item, dict):
            self._add(place, item)
        elif event.get("type") == "response.output_item.done" and isinstance(item, dict):
            self._finish(place, item)
        elif piece := piece_of(event):
            self._take(place, piece)
        else:
            return []
        if self._held > FRAME_LIMIT:
            return self._fail(_TANGLED)
        return [*self._begin({}), *self._told()]

    def _add(self, place: int, item: Json) -> ComingItem:
        """An item begins; one that had its place before is over, for some servers tell none."""
        before = self._items.get(place)
        if before is not None and not before.is_done:
            before.finish({})
        coming = self._items[place] = ComingItem(item, self._new_id)
        self._queue.append(coming)
        return coming

    def _finish(self, place: int, item: Json) -> None:
        coming = self._items.get(place)
        if coming is None or coming.is_done or coming.kind != item.get("type"):
            coming = self._add(place, item)
        coming.finish(item)

    def _take(self, place: int, piece: Piece) -> None:
        kind = TEXTS[piece.told_by][0]
        coming = self._items.get(place)
        if coming is not None and coming.is_done and piece.is_whole:
            return  # a late echo
        if coming is None or coming.is_done or coming.kind != kind:
            coming = self._add(place, {"type": kind})
        if coming is not self._queue[0]:
            self._held += len(piece.text)
        coming.read(piece)

    def _told(self) -> list[Event]:
        """What can be told now: all of the first item, and of the next where that one is done."""
        events: list[Event] = []
        while self._queue:
            events += self._queue[0].take()
            if not self._queue[0].is_done:
                break
            self._queue.popleft()
        if not self._queue:
            self._held = 0
        self._said |= {type(event.part) for event in events if isinstance(event, PartStart)}
        return events
