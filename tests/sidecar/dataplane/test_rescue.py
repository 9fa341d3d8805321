"""Errors in words: whatever a backend repeats of a key, no client and no log reads it."""

import logging
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.dataplane import rescue
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.opening import check_status, open_answer
from sidecar.dataplane.passage import Passage, Relay
from sidecar.dataplane.telling import Telling
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import AttemptFailed, Exhausted, Problem
from sidecar.policy.outcome import Disposition, Outcome
from sidecar.policy.routing import Candidate, Plan
from sidecar.policy.verdict import conclude
from sidecar.telemetry.logs import _JsonLines
from sidecar.telemetry.recorder import RequestNote, request_line
from sidecar.telemetry.redact import Redactor
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation, RequestFacts
from tests.sidecar.dataplane.exchange import exchange
from tests.sidecar.dataplane.script import JSON_TYPE, Reply
from tests.sidecar.examples import TIMEOUTS, route

SECRETS = (
    "Zk39-plain_value.xyz",
    'with"quote\\and/slash',
    "percent%20+sign/=",
    "sch\u00fcssel-9999",
)
redact = Redactor(SECRETS)

secrets = st.sampled_from(SECRETS)
paddings = st.integers(0, 330).map(lambda size: ("the quick brown fox " * 20)[:size])
statuses = st.sampled_from([200, 400, 401, 403, 404, 413, 418, 429, 500, 503])


@st.composite
def echoes(draw: st.DrawFn) -> tuple[int, bytes]:
    """Status and body of a backend that repeats a key somewhere."""
    secret, before, after = draw(secrets), draw(paddings), draw(paddings)
    words = f"{before}{draw(st.sampled_from(['', ' ', 'key=', 'Bearer ']))}{secret} {after}"
    shape = draw(st.sampled_from(["openai", "anthropic", "ollama", "vllm", "deep", "text", "html"]))
    body: object
    match shape:
        case "openai":
            body = {"error": {"message": words, "type": words, "param": secret, "code": secret}}
        case "anthropic":
            body = {"type": "error", "error": {"type": "authentication_error", "message": words}}
        case "ollama":
            body = {"error": words, "signin_url": f"https://x.example/?key={secret}"}
        case "vllm":
            body = {"object": "error", "message": words}
        case "deep":
            body = {"error": {"message": "No.", "details": [{secret: {"echo": [words]}}]}}
        case "html":
            return draw(statuses), f"<html><b>{words}</b></html>".encode()
        case _:
            return draw(statuses), words.encode()
    raw = json.dumps(body)
    if draw(st.booleans()):  # the same in escapes that only a reader of JSON undoes
        raw = (
            raw.decode()
            .replace(secret[:4], "".join(f"\\u{ord(c):04x}" for c in secret[:4]))
            .encode()
        )
    return draw(statuses), raw


async def failed(dialect: Dialect, client: Dialect, status: int, body: bytes) -> Problem | None:
    """What the executor would make of the answer; None where it is a good one."""
    passage: Passage = Relay(dialect, RequestFacts(Operation.CHAT))
    headers = {**JSON_TYPE, "x-ratelimit-key": SECRETS[0], "openai-organization": SECRETS[3]}
    reply = Reply(body, status=status, headers=headers)
    try:
        await check_status(reply, passage, 0.0)
        await open_answer(reply, passage, wants_stream=False, whole_begins=lambda: None)
    except AttemptFailed as error:
        problem = error.problem
        if dialect is not client:
            return Problem(**{name: getattr(problem, name) for name in FIELDS} | {"raw": None})
        return problem
    return None


FIELDS = Problem.__slots__


def says_nothing(text: str) -> None:
    for form in (text, unquote(text)):
        for secret in SECRETS:
            assert secret[:10] not in form  # nor half of one, as long as it has no space


def says_nothing_inside(value: object) -> None:
    match value:
        case str():
            says_nothing(value)
        case dict():
            for name, one in value.items():
                says_nothing(name)
                says_nothing_inside(one)
        case list():
            for one in value:
                says_nothing_inside(one)
        case _:
            pass


@pytest.mark.parametrize("client", DIALECTS, ids=lambda one: one.name)
@pytest.mark.parametrize("backend", DIALECTS, ids=lambda one: one.name)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(echo=echoes(), alone=st.booleans())
async def test_no_key_is_ever_told(
    backend: Dialect, client: Dialect, echo: tuple[int, bytes], alone: bool
) -> None:
    problem = await failed(backend, client, *echo)
    if problem is None:
        return
    names = ("a",) if alone else ("a", "b")
    plan = Plan(route("chat", *names), tuple(Candidate(one, "m", TIMEOUTS) for one in names))
    outcome = Outcome(0, "a", "m", Disposition.FINAL, problem)
    note = RequestNote("r1", Operation.CHAT, "chat", attempts=[outcome])

    async def act(answer: Answer) -> None:
        error = Exhausted(conclude(plan, [outcome], {}))
        await rescue.respond(answer, client, error, note, Telling(redact))

    response: httpx.Response = await exchange(act, dialect=client)
    says_nothing(response.text)
    says_nothing_inside(response.json())
    for value in response.headers.values():
        says_nothing(value)
    record = logging.makeLogRecord({"msg": "request", **request_line(note)})
    line = _JsonLines(redact).format(record)
    says_nothing(line)
    says_nothing_inside(json.loads(line))
