"""Requests and answers of backends, written down instead of sent."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from multidict import CIMultiDict

from sidecar.config.snapshot import Backend
from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.opening import Opened, check_status, open_answer
from sidecar.dataplane.passage import Passage, Relay
from sidecar.dataplane.prepare import Moment, Outbound, Prepared, prepare
from sidecar.dataplane.translate import Translation
from sidecar.dataplane.upstream import RawReply
from sidecar.dialects.openai_chat import DIALECT
from sidecar.neutral.problem import AttemptFailed, Problem
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.routing import Candidate, Route, Target
from sidecar.wire import json
from sidecar.wire.contract import Feature, Operation, RequestFacts
from sidecar.wire.framing import sse
from tests.sidecar.examples import TIMEOUTS

DONE = b"data: [DONE]\n\n"
JSON_TYPE = {"content-type": "application/json"}
FACTS = {one.name for one in fields(RequestFacts)}
SSE_TYPE = {"content-type": "text/event-stream"}


class Reply:
    """A scripted answer: a chunk of bytes, or a problem that breaks it off."""

    def __init__(
        self, *script: bytes | Problem, status: int = 200, headers: Mapping[str, str] = JSON_TYPE
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = CIMultiDict(headers)
        self.gaps: list[float] = []
        self.taken = 0  # chunks that were read
        self._all = script
        self._script = iter(script)

    def rewind(self) -> None:
        """Play it again from the start."""
        self._script = iter(self._all)

    async def read(self) -> bytes:
        step = next(self._script, b"")
        if isinstance(step, Problem):
            raise AttemptFailed(step)
        self.taken += bool(step)
        return step

    def limit_gap(self, seconds: float) -> None:
        self.gaps.append(seconds)

    async def settle(self) -> None:
        """Nothing comes behind the script."""

    async def aclose(self) -> None:
        """Nothing is held."""


async def open_fully(
    reply: RawReply, request: Inbound, whole_begins: Callable[[], None] = lambda: None
) -> Opened:
    """What the executor does with a reply before anything is delivered."""
    return await open_passage(
        reply, Relay(request.dialect, request.facts), request.facts.stream, whole_begins
    )


async def open_passage(
    reply: RawReply,
    passage: Passage,
    wants_stream: bool,
    whole_begins: Callable[[], None] = lambda: None,
) -> Opened:
    """The same for an answer that may cross."""
    if isinstance(reply, Reply):
        reply.rewind()
    await check_status(reply, passage, 0.0)
    return await open_answer(reply, passage, wants_stream=wants_stream, whole_begins=whole_begins)


async def rest_of(found: Opened) -> list[bytes]:
    """Everything that the client would be sent of a stream."""
    assert found.stream is not None
    frames = list(found.frames)
    async for more in found.stream:
        frames += more
    found.stream.check_end()
    return frames


def inbound(
    raw: bytes = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}', **changes: Any
) -> Inbound:
    """A chat request for the model `m`; changes name fields of `Inbound` or of its facts."""
    told: dict[str, Any] = {"operation": Operation.CHAT, "model": "m"}
    told |= {name: changes.pop(name) for name in list(changes) if name in FACTS}
    values: dict[str, Any] = {
        "dialect": DIALECT,
        "facts": RequestFacts(**told),
        "method": "POST",
        "path": "/v1/chat/completions",
        "query": "",
        "headers": (),
        "raw": raw,
        "body": json.loads(raw) if raw else {},
        "key": None,
    }
    return Inbound(**values | changes)


MOMENT = Moment(
    created=1_700_000_000, elapsed=lambda: 2.5, new_id=lambda: "new", tokens=lambda _: 7
)


def outbound(request: Inbound, route: Route, via: str = "me") -> Outbound:
    """A request on its way out."""
    return Outbound(request, Translation(request), route, via, MOMENT)


def prepared(
    request: Inbound, backend: Backend, sent: str | None = "m", *without: Feature
) -> Prepared:
    """What `prepare` makes of a request for a backend on a usual route."""
    return prepare(outbound(request, route()), candidate(sent), backend, frozenset(without))


def candidate(model: str | None = "m") -> Candidate:
    return Candidate("home", model, TIMEOUTS)


def route(*, stay_local: bool = False) -> Route:
    targets = (Target("home", None, TIMEOUTS),)
    return Route("chat", ("chat",), targets, RetrySettings(), stay_local=stay_local)


def says(text: str = "", finish: str | None = None, **more: Any) -> bytes:
    """One chunk of a streamed answer."""
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return sse(json.dumps({"id": "c1", "model": "m1", "choices": [choice], **more}))


def greets() -> bytes:
    """The chunk that many backends send before they know whether they can answer."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    return sse(json.dumps({"id": "c1", "model": "m1", "choices": [choice]}))


def counts() -> bytes:
    """The frame of a stream that carries usage and nothing else."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return sse(json.dumps({"id": "c1", "model": "m1", "choices": [], "usage": usage}))


def whole(text: str = "Hello") -> bytes:
    """A whole answer."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return json.dumps({"id": "c1", "model": "m1", "choices": [choice], "usage": usage})
