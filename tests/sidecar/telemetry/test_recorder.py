"""What one request leaves behind in metrics and in the log."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Loss, Severity
from sidecar.neutral.usage import Usage
from sidecar.policy.availability import Availability, Standing
from sidecar.policy.breaker import Change
from sidecar.policy.outcome import OUTCOMES
from sidecar.telemetry import metrics as catalogue
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.recorder import REJECTIONS, Recorder, RequestNote, request_line
from sidecar.wire.contract import Operation
from tests.sidecar.examples import backend, failed, route, snapshot, succeeded

K = ProblemKind
USUAL = snapshot([backend("p"), backend("f")], [route("chat", "p", "f")])


class Records:
    def __init__(self) -> None:
        self.metrics = Metrics("1")
        self.metrics.prepare(USUAL)
        self.recorder = Recorder(self.metrics)

    def value(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(f"llm_sidecar_{name}", labels)
        assert value is not None, f"no sample {name} with {labels}"
        return value


@pytest.fixture
def records() -> Records:
    return Records()


def note(**changes: Any) -> RequestNote:
    return RequestNote("id", **{"operation": Operation.CHAT, "route": "chat"} | changes)


def test_an_attempt_and_a_request_are_different_facts(records: Records) -> None:
    history = [failed("p", K.TIMEOUT, first_byte=0.5), succeeded("f", 1)]
    for outcome in history:
        records.recorder.attempt_ended(outcome)
    records.recorder.request_ended(note(attempts=history))
    assert records.value("attempts_total", backend="p", outcome="timeout") == 1
    assert records.value("attempts_total", backend="f", outcome="ok") == 1
    assert records.value("upstream_first_byte_seconds_count", backend="p") == 1
    assert records.value("requests_total", route="chat", operation="chat", outcome="ok") == 1
    assert records.value("fallbacks_total", route="chat", reason="timeout") == 1
    assert records.value("retries_total", backend="p") == 0


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (K.TRUNCATED, "upstream_error"),
        (K.TIMEOUT, "timeout"),
        (K.CLIENT_GONE, "client_disconnect"),
        (K.RATE_LIMITED, "rate_limited"),
        (K.BAD_REQUEST, "client_error"),
        (K.SHUTDOWN, "overloaded"),
    ],
)
def test_a_200_that_ended_in_an_error_is_never_ok(
    records: Records, kind: ProblemKind, outcome: str
) -> None:
    records.recorder.request_ended(note(status=200, problem=Problem(kind, "it broke")))
    assert records.value("requests_total", route="chat", operation="chat", outcome=outcome) == 1
    assert records.value("requests_total", route="chat", operation="chat", outcome="ok") == 0


@pytest.mark.parametrize(
    ("history", "retries", "fallbacks"),
    [
        ([failed("p", K.CONNECT), succeeded("p")], 1, {}),
        ([failed("p", K.CONNECT), failed("p", K.CONNECT), succeeded("f", 1)], 1, {"connect": 1}),
        ([failed("p", K.CONTEXT_LENGTH), succeeded("f", 1)], 0, {"context_length": 1}),
        ([failed("p", K.UNKNOWN_MODEL), succeeded("f", 1)], 0, {"unknown_model": 1}),
        ([failed("p", K.BACKEND_AUTH), succeeded("f", 1)], 0, {"auth": 1}),
        ([succeeded("p")], 0, {}),
    ],
)
def test_retries_and_fallbacks_follow_from_the_attempts(
    records: Records, history: list[Any], retries: int, fallbacks: dict[str, int]
) -> None:
    records.recorder.request_ended(note(attempts=history))
    assert records.value("retries_total", backend="p") == retries
    for reason in catalogue.FALLBACK_REASONS:
        assert records.value("fallbacks_total", route="chat", reason=reason) == fallbacks.get(
            reason, 0
        )


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (Availability.EJECTED, "circuit_open"),
        (Availability.READY, "circuit_open"),
        (Availability.UNHEALTHY, "unhealthy"),
        (Availability.RESTING, "resting"),
        (Availability.DRAINING, "draining"),
    ],
)
def test_a_first_target_that_was_passed_over_is_counted_by_reason(
    records: Records, state: Availability, reason: str
) -> None:
    told = note(attempts=[succeeded("f", 1)], passed_over=Standing(state))
    records.recorder.request_ended(told)
    assert records.value("fallbacks_total", route="chat", reason=reason) == 1


def test_ejections_and_returns_are_logged(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    out = Change("p", None, is_back=False, why="after 5 failures in a row", rest=29.6)
    records.recorder.breakers_changed([out, Change("p", "m", is_back=True)])
    told = [(line.levelname, line.getMessage()) for line in caplog.records]
    assert told == [
        ("WARNING", "backend 'p' is ejected for 30 s after 5 failures in a row"),
        ("INFO", "backend 'p', model 'm', is back"),
    ]


@pytest.mark.parametrize(
    ("full", "history", "fallbacks"),
    [
        ([0], [succeeded("f", 1)], {"full": 1}),
        ([0], [], {}),
        ([1], [failed("p", K.TIMEOUT), succeeded("f", 2)], {"timeout": 1, "full": 1}),
        ([1], [failed("p", K.TIMEOUT)], {}),
    ],
)
def test_a_move_away_from_a_full_backend_is_counted(
    records: Records, full: list[int], history: list[Any], fallbacks: dict[str, int]
) -> None:
    over = Standing(Availability.FULL) if 0 in full else None
    records.recorder.request_ended(note(attempts=history, full=full, passed_over=over))
    for reason in catalogue.FALLBACK_REASONS:
        assert records.value("fallbacks_total", route="chat", reason=reason) == fallbacks.get(
            reason, 0
        )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (K.BAD_REQUEST, "invalid"),
        (K.TOO_LARGE, "too_large"),
        (K.UNKNOWN_MODEL, "unknown_model"),
        (K.FORBIDDEN, "auth"),
        (K.SHUTDOWN, "draining"),
        (K.UNAVAILABLE, "overload"),
    ],
)
def test_a_refusal_is_counted_by_reason(records: Records, kind: ProblemKind, reason: str) -> None:
    refused = Problem(kind, "no")
    records.recorder.request_ended(note(route="other", problem=refused))
    assert records.value("rejected_requests_total", reason=reason) == 1
    records.recorder.request_ended(note(problem=refused, attempts=[failed("p", kind)]))
    assert records.value("rejected_requests_total", reason=reason) == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (K.CLIENT_GONE, "client_disconnect"),
        (K.TRUNCATED, "upstream_reset"),
        (K.BACKEND_ERROR, "upstream_reset"),
        (K.TIMEOUT, "idle_timeout"),
        (K.SHUTDOWN, "shutdown"),
    ],
)
def test_a_stream_cut_after_content_is_aborted(
    records: Records, kind: ProblemKind, reason: str
) -> None:
    cut = note(stream=True, committed=True, problem=Problem(kind, "cut"))
    records.recorder.request_ended(cut)
    records.recorder.request_ended(replace(cut, committed=False))
    records.recorder.request_ended(replace(cut, stream=False))
    assert records.value("streams_aborted_total", route="chat", reason=reason) == 1


def test_tokens_are_those_of_the_answer(records: Records) -> None:
    usage = Usage(100, 21, cached_input_tokens=40, reasoning_output_tokens=5)
    history = [failed("p", K.TRUNCATED, usage=Usage(9, 9)), succeeded("f", 1, usage=usage)]
    records.recorder.request_ended(
        note(attempts=history, stream=True, ttft=1.0, duration=3.0, overhead=0.002)
    )
    pair = {"route": "chat", "backend": "f"}
    assert records.value("tokens_total", **pair, type="input") == 100
    assert records.value("tokens_total", **pair, type="output") == 21
    assert records.value("cached_input_tokens_total", **pair) == 40
    assert records.value("reasoning_output_tokens_total", **pair) == 5
    assert records.value("tokens_total", route="chat", backend="p", type="input") == 0
    assert records.value("time_to_first_token_seconds_sum", route="chat") == 1.0
    assert records.value("time_per_output_token_seconds_sum", route="chat") == pytest.approx(0.1)
    assert records.value("proxy_overhead_seconds_count", route="chat") == 1


def test_times_of_streams_are_not_those_of_whole_answers(records: Records) -> None:
    answered = [succeeded("p", usage=Usage(1, 50))]
    records.recorder.request_ended(note(attempts=answered, ttft=1.0, duration=3.0))
    assert records.value("time_to_first_token_seconds_count", route="chat") == 0
    assert records.value("time_per_output_token_seconds_count", route="chat") == 0
    assert records.value("request_duration_seconds_sum", route="chat", operation="chat") == 3.0


def test_usage_that_was_estimated_is_told_apart(records: Records) -> None:
    known, guessed = Usage(1, 2), Usage(7, 2, is_estimated=True)
    for usage in (known, guessed, guessed):
        records.recorder.request_ended(note(attempts=[succeeded("f", 1, usage=usage)]))
    cut = failed("p", K.TRUNCATED, usage=guessed)
    records.recorder.request_ended(note(attempts=[cut], problem=cut.problem))
    assert records.value("usage_estimated_total", route="chat", backend="f") == 2
    assert records.value("usage_estimated_total", route="chat", backend="p") == 0


def test_what_a_crossing_loses_is_counted_by_severity(records: Records) -> None:
    losses = [
        Loss("seed", Severity.COSMETIC),
        Loss("n", Severity.SEMANTIC),
        Loss("logprobs", Severity.SEMANTIC),
    ]
    records.recorder.crossed("anthropic", "openai", losses)
    records.recorder.crossed("anthropic", "openai", losses[:1])
    ways = {"from": "anthropic", "to": "openai"}
    assert records.value("translation_losses_total", **ways, severity="cosmetic") == 2
    assert records.value("translation_losses_total", **ways, severity="semantic") == 2
    others = {"from": "ollama", "to": "openai"}
    assert records.value("translation_losses_total", **others, severity="semantic") == 0


def test_names_that_are_not_configured_are_other(records: Records) -> None:
    records.recorder.attempt_ended(succeeded("removed"))
    records.recorder.request_ended(note(route="removed", attempts=[succeeded("removed")]))
    assert records.value("attempts_total", backend="other", outcome="ok") == 1
    assert records.value("requests_total", route="other", operation="chat", outcome="ok") == 1


def test_every_word_of_the_tables_is_in_the_catalogue() -> None:
    assert set(REJECTIONS.values()) <= set(catalogue.REJECTED_REASONS)
    assert {rule.attempt for rule in OUTCOMES.values()} <= set(catalogue.ATTEMPT_OUTCOMES)
    kinds = [kind for kind in K if OUTCOMES[kind].disposition in ("retry_same", "fail_over")]
    records = Records()
    for kind in kinds:
        records.recorder.request_ended(note(attempts=[failed("p", kind), succeeded("f", 1)]))
    reasons = {
        sample.labels["reason"]
        for family in records.metrics.fallbacks.collect()
        for sample in family.samples
    }
    assert reasons == set(catalogue.FALLBACK_REASONS)


def test_the_log_line_tells_the_whole_story(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    quoting = Problem(
        K.BACKEND_ERROR,
        "prompt: my secret diary",
        raw=b"",
        status=500,
        quotes=True,
    )
    first = replace(failed("p", K.BACKEND_ERROR, duration=0.0123), problem=quoting)
    ended = note(
        revision="abc",
        asked_model="chat",
        stream=True,
        attempts=[first, succeeded("f", 1, duration=1.5, usage=Usage(3, 4))],
        status=200,
        ttft=0.25,
        duration=1.6,
        skipped_events=1,
    )
    with caplog.at_level(logging.INFO, "sidecar"):
        records.recorder.request_ended(ended)
    (record,) = caplog.records
    assert record.getMessage() == "request"
    line: Any = request_line(ended)["fields"]
    assert line == {
        "id": "id",
        "route": "chat",
        "operation": "chat",
        "model": "chat",
        "stream": True,
        "attempts": [
            {
                "backend": "p",
                "model": "m",
                "outcome": "server_error",
                "disposition": "retry_same",
                "ms": 12.3,
                "problem": "backend_error (the backend's words are not repeated here)",
            },
            {
                "backend": "f",
                "model": "m",
                "outcome": "ok",
                "disposition": "success",
                "ms": 1500.0,
                "problem": None,
            },
        ],
        "result": "ok",
        "status": 200,
        "ttft_ms": 250.0,
        "ms": 1600.0,
        "tokens_in": 3,
        "tokens_out": 4,
        "skipped_events": 1,
        "revision": "abc",
    }


def test_a_failing_metric_is_told_once_and_fails_nothing(
    records: Records, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records.metrics, "requests", None)
    with caplog.at_level(logging.INFO, "sidecar"):
        records.recorder.request_ended(note())
        records.recorder.request_ended(note())
    events = [record.getMessage() for record in caplog.records]
    assert events.count("request") == 2
    assert len([event for event in events if event.startswith("metrics failed")]) == 1
    assert records.value("optional_failures_total", part="metrics") == 2


def test_what_the_public_listener_refuses_is_counted(records: Records) -> None:
    for reason in catalogue.PUBLIC_REASONS:
        records.recorder.turned_away(reason)
        assert records.value("public_rejected_total", reason=reason) == 1
