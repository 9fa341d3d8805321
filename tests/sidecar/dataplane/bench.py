"""A sidecar whose backends are scripted: whole plans are run, and what came of them is kept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from sidecar.config.snapshot import Backend
from sidecar.dataplane import rescue
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.executor import Executor
from sidecar.dataplane.gate import Gate
from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.job import Clock, Job, Timing
from sidecar.dataplane.telling import Telling
from sidecar.dataplane.upstream import RawReply, UpstreamCall
from sidecar.neutral.problem import AttemptFailed, Problem, SidecarError
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.routing import Candidate, Plan, Route
from sidecar.runtime.current import Current
from sidecar.runtime.store import BackendKey, RuntimeStore
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recorder import Recorder, RequestNote
from sidecar.wire import json
from tests.sidecar.dataplane.exchange import exchange
from tests.sidecar.dataplane.script import outbound
from tests.sidecar.examples import TIMEOUTS, route, snapshot

OPENLY = Telling(lambda words: words)
AT_ONCE = RetrySettings(attempts=2, base=0.0)  # retries without a pause


class Scripted:
    """Backends that answer by a script, each reply once."""

    def __init__(self) -> None:
        self.calls: list[UpstreamCall] = []
        self._replies: dict[str, list[RawReply | Problem]] = {}

    def take(self, replies: Mapping[str, Sequence[RawReply | Problem]]) -> None:
        """A new script."""
        self.calls = []
        self._replies = {name: list(script) for name, script in replies.items()}

    async def send(self, call: UpstreamCall) -> RawReply:
        self.calls.append(call)
        reply = self._replies[call.backend.name].pop(0)
        if isinstance(reply, Problem):
            raise AttemptFailed(reply)
        return reply

    async def forget(self, backend: BackendKey) -> None:
        """Nothing is held."""


@dataclass
class Bench:
    """A sidecar whose backends are scripted; `now` is what its clock says."""

    backends: Sequence[Backend]
    strict: bool = False
    now: float = 100.0
    store: RuntimeStore = field(default_factory=RuntimeStore)
    metrics: Metrics = field(default_factory=lambda: Metrics("1"))

    def __post_init__(self) -> None:
        names = [one.name for one in self.backends]
        usual = replace(route("chat", *names), retry=AT_ONCE, losses_strict=self.strict)
        self.snapshot = snapshot(self.backends, [usual])
        self.current = Current(self.snapshot)
        self.metrics.prepare(self.snapshot)
        self.store.reconcile(self.snapshot)
        self.recorder = Recorder(self.metrics)
        clock = Clock(lambda: self.now, lambda: 0.0, lambda: 0.0)
        self.upstream = Scripted()
        self.executor = Executor(
            self.upstream,
            self.upstream,
            self.store,
            Gate(self.store, self.current),
            self.recorder,
            clock,
        )

    @property
    def route(self) -> Route:
        return self.snapshot.routes.routes[0]

    async def run(self, request: Inbound, **replies: Sequence[RawReply | Problem]) -> "Ran":
        """The answer to a request."""
        self.upstream.take(replies)
        candidates = tuple(Candidate(one.name, "m", TIMEOUTS) for one in self.backends)
        note = RequestNote("r1", request.facts.operation, "chat")
        note.stream = request.facts.stream

        async def act(answer: Answer) -> None:
            job = Job(
                outbound(request, self.route),
                Plan(self.route, candidates),
                answer,
                self.snapshot,
                note,
                Timing(self.now),
                math.inf,
            )
            try:
                await self.executor.run(job)
            except SidecarError as error:
                await rescue.respond(answer, request.dialect, error, note, OPENLY)
            self.recorder.request_ended(note)

        response = await exchange(act, dialect=request.dialect)
        return Ran(response, self.upstream.calls, note)

    def value(self, name: str, **labels: str) -> float:
        """A metric; `of` stands for `from`."""
        named = {"from" if name == "of" else name: value for name, value in labels.items()}
        value = self.metrics.registry.get_sample_value(f"llm_sidecar_{name}", named)
        assert value is not None, f"no sample {name} with {named}"
        return value


@dataclass
class Ran:
    """What came of a request."""

    response: httpx.Response
    calls: list[UpstreamCall]
    note: RequestNote

    @property
    def asked(self) -> list[str]:
        return [call.backend.name for call in self.calls]

    @property
    def sent(self) -> list[Any]:
        return [json.loads(call.body) for call in self.calls if isinstance(call.body, bytes)]

    @property
    def outcomes(self) -> list[str]:
        return [one.label for one in self.note.attempts]

    @property
    def words(self) -> str:
        """Of an answer in OpenAI's dialect."""
        content: str = self.response.json()["choices"][0]["message"]["content"]
        return content

    @property
    def error(self) -> Any:
        """Of an error in OpenAI's dialect."""
        return self.response.json()["error"]
