"""Whole plans against scripted backends: who is asked what, and what the client hears."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from sidecar.config.snapshot import Backend, Forward
from sidecar.dataplane.attempt import CALIBRATE_EVERY
from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.prepare import LONGEST_FIELD
from sidecar.dataplane.provenance import LOSSES_NAMED
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.admission import Bounds
from sidecar.runtime.calibration import ModelKey
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.optional import Part
from sidecar.wire import json
from sidecar.wire.contract import Operation
from sidecar.wire.framing import sse
from tests.sidecar.dataplane.bench import AT_ONCE, Bench
from tests.sidecar.dataplane.crossings import (
    ANTHROPIC,
    ENDS,
    OLLAMA,
    OPENAI,
    RESPONSES,
    asks,
    begins,
    block,
    delta,
    done,
    event,
    message,
    stops,
    text,
    there,
    told,
    use,
)
from tests.sidecar.dataplane.script import SSE_TYPE, Reply, inbound, says, whole

K = ProblemKind
NO_THOUGHTS = b'{"error":"\\"m\\" does not support thinking"}'
THINKS = {"reasoning_effort": "high"}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
FROM_ANTHROPIC = [begins(), block(0, type="text", text=""), delta(0, "Hi")]
CLOSED = event("content_block_stop", index=0)


def refuses(body: bytes = NO_THOUGHTS, status: int = 400) -> Reply:
    return Reply(body, status=status)


# --- a feature that is refused --------------------------------------------------------------------


async def test_a_request_is_sent_again_without_what_was_refused() -> None:
    bench = Bench([there(OLLAMA, "a")])
    ran = await bench.run(asks(body=THINKS), a=[refuses(), Reply(done("Hi"))])
    assert (ran.response.status_code, ran.words) == (200, "Hi")
    first, second = ran.sent
    assert "think" in first and "think" not in second
    assert ran.response.headers["x-sidecar-losses"] == "thinking"
    assert ran.response.headers["x-sidecar-attempts"] == "2"
    assert bench.value("retries_total", backend="a") == 1


async def test_what_is_refused_all_the_same_is_final() -> None:
    bench = Bench([there(OLLAMA, "a"), there(OPENAI, "b")])
    ran = await bench.run(asks(body=THINKS), a=[refuses(), refuses()])
    assert (ran.response.status_code, ran.asked) == (400, ["a", "a"])
    assert ran.error["param"] is None
    assert ran.note.result == "client_error"


async def test_where_nothing_can_be_left_out_the_refusal_is_final() -> None:
    bench = Bench([there(OLLAMA, "a"), there(OPENAI, "b")])
    ran = await bench.run(asks(), a=[refuses()])
    assert (ran.response.status_code, ran.asked) == (400, ["a"])


async def test_a_relayed_request_can_do_without_too() -> None:
    bench = Bench([there(OLLAMA, "a")])
    request = asks(OLLAMA, body={"think": True})
    ran = await bench.run(request, a=[refuses(), Reply(done("Hi"))])
    assert [one["think"] for one in ran.sent] == [True, None]
    assert ran.response.content == done("Hi")


async def test_what_one_backend_refused_another_is_still_asked_for() -> None:
    bench = Bench([there(OLLAMA, "a"), there(OLLAMA, "b")])
    lost = Reply(Problem(K.TRUNCATED, "broke off"))
    ran = await bench.run(asks(body=THINKS), a=[refuses(), lost], b=[Reply(done("Hi"))])
    assert ran.asked == ["a", "a", "b"]
    assert ["think" in one for one in ran.sent] == [True, False, True]


class Gone:
    """A body that has flowed already."""

    length = refused = None
    started = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b""


async def test_a_body_that_is_gone_is_not_sent_again_whatever_was_refused() -> None:
    opaque = {"operation": Operation.OPAQUE, "model": None, "path": "/v1/files"}
    request = inbound(b"", upload=Gone(), **opaque)
    ran = await Bench([there(OLLAMA, "a")]).run(request, a=[refuses(), refuses()])
    assert (ran.response.status_code, ran.asked) == (400, ["a"])


# --- answers that are not what was asked for ------------------------------------------------------


def must_call(**more: Any) -> Inbound:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    return asks(body={"tools": [tool], "tool_choice": "required"} | more)


CALL = done(message={"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]})


async def test_a_model_that_did_not_do_it_is_asked_again() -> None:
    bench = Bench([there(OLLAMA, "a")])
    ran = await bench.run(must_call(), a=[Reply(done("No")), Reply(CALL)])
    assert (ran.response.status_code, ran.asked) == (200, ["a", "a"])
    (call,) = ran.response.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "f"
    assert ran.outcomes == ["protocol", "ok"]


async def test_a_model_that_never_does_it_gives_way_to_another() -> None:
    bench = Bench([there(OLLAMA, "a"), there(ANTHROPIC, "b")])
    never = [Reply(done("No")) for _ in range(AT_ONCE.attempts + 1)]
    ran = await bench.run(must_call(), a=never, b=[Reply(message(use("f"), stop="tool_use"))])
    assert ran.asked == ["a", "a", "a", "b"]
    assert ran.response.headers["x-sidecar-backend"] == "b"
    alone = Bench([there(OLLAMA, "a")])
    again = await alone.run(must_call(), a=[Reply(done("No")) for _ in range(3)])
    assert again.response.status_code == 502
    assert "did not call a tool" in again.error["message"]


async def test_what_must_be_verified_comes_whole_and_is_streamed_to_the_client() -> None:
    request = replace(must_call(), facts=replace(asks().facts, stream=True))
    ran = await Bench([there(OLLAMA, "a")]).run(request, a=[Reply(CALL)])
    assert ran.sent[0]["stream"] is False
    chunks = told(ran.response.content)
    assert any(chunk["choices"][0]["delta"].get("tool_calls") for chunk in chunks)
    assert ran.response.content.endswith(b"data: [DONE]\n\n")


# --- what a dialect has no words for --------------------------------------------------------------


async def test_what_cannot_be_translated_goes_to_who_can_take_it() -> None:
    bench = Bench([there(ANTHROPIC, "a"), there(OPENAI, "b")])
    request = asks(body={"seed": 1, "messages": [{"role": "user", "content": [SOUND]}]})
    ran = await bench.run(request, b=[Reply(whole("Hi"))])
    assert (ran.response.status_code, ran.asked) == (200, ["b"])
    assert ran.calls[0].body == request.raw
    assert ran.response.headers["x-sidecar-attempts"] == "2"
    assert "x-sidecar-losses" not in ran.response.headers
    assert bench.value("fallbacks_total", route="chat", reason="client_error") == 1


@pytest.mark.parametrize("others", [[], [there(OLLAMA, "b")]])
async def test_what_nobody_can_take_is_a_400_that_names_the_field(others: list[Backend]) -> None:
    bench = Bench([there(ANTHROPIC, "a"), *others])
    request = asks(body={"messages": [{"role": "user", "content": [SOUND]}]})
    ran = await bench.run(request)
    assert (ran.response.status_code, ran.asked) == (400, [])
    assert ran.error["code"] == "cannot_translate"
    assert f"`{ran.error['param']}`" in ran.error["message"]
    assert ran.response.headers["x-sidecar-attempts"] == str(1 + len(others))
    assert ran.response.headers["x-sidecar-backend"] == (others[0].name if others else "a")
    assert ran.note.result == "client_error"


async def test_a_strict_route_names_the_field_too() -> None:
    ran = await Bench([there(ANTHROPIC, "a")], strict=True).run(asks(body={"n": 2}))
    assert (ran.response.status_code, ran.error["param"]) == (400, "n")


async def test_a_fault_tells_more_than_that_another_dialect_has_no_words() -> None:
    bench = Bench([there(OPENAI, "a"), there(ANTHROPIC, "b")])
    request = asks(body={"messages": [{"role": "user", "content": [SOUND]}]})
    ran = await bench.run(request, a=[Reply(b"{}", status=400)])
    assert ran.response.status_code == 400 and ran.asked == ["a"], "a refusal is final"
    broken = [Reply(Problem(K.TRUNCATED, "broke off"))]
    ran = await bench.run(request, a=broken)
    assert ran.response.status_code == 502
    assert "broke off" in ran.error["message"] and "input_audio" in ran.error["message"]


async def test_what_cannot_be_read_is_still_relayed_to_who_may_read_it() -> None:
    bench = Bench([there(OPENAI, "a"), there(ANTHROPIC, "b")])
    request = asks(body={"temperature": "0.5"})
    ran = await bench.run(request, a=[Reply(whole("Hi"))])
    assert ran.words == "Hi"
    ran = await bench.run(request, a=[Reply(Problem(K.TRUNCATED, "broke off"))])
    assert ran.response.status_code == 502, "and that it cannot cross is not the client's fault"


async def test_a_count_crosses_to_who_can_count() -> None:
    request = replace(asks(ANTHROPIC, operation=Operation.COUNT), path="/v1/messages/count_tokens")
    bench = Bench([there(RESPONSES, "a")])
    ran = await bench.run(request, a=[Reply(b'{"input_tokens":14,"object":"x"}')])
    assert ran.response.json() == {"input_tokens": 14}
    assert ran.calls[0].url == "http://a.invalid/v1/responses/input_tokens"


async def test_a_count_never_becomes_an_answer_of_another_backend() -> None:
    request = replace(asks(ANTHROPIC, operation=Operation.COUNT), path="/v1/messages/count_tokens")
    bench = Bench([there(ANTHROPIC, "a"), there(OPENAI, "b")])
    ran = await bench.run(request, a=[Reply(Problem(K.TRUNCATED, "broke off"))])
    assert (ran.response.status_code, ran.asked) == (502, ["a"])


# --- what the client and the metrics are told of losses -------------------------------------------


async def test_losses_are_named_and_counted() -> None:
    bench = Bench([there(ANTHROPIC, "a")])
    ran = await bench.run(
        asks(body={"seed": 1, "n": 2, "logprobs": True}), a=[Reply(message(text("Hi")))]
    )
    assert ran.words == "Hi"
    named = ran.response.headers["x-sidecar-losses"].split(", ")
    assert {"seed", "n", "logprobs"} <= set(named)
    assert len(named) == len(set(named))
    ways = {"of": "openai", "to": "anthropic"}
    assert bench.value("translation_losses_total", **ways, severity="semantic") == 2
    assert bench.value("translation_losses_total", **ways, severity="cosmetic") == len(named) - 2


async def test_losses_are_those_of_who_answered() -> None:
    lost = [Reply(Problem(K.TRUNCATED, "broke off"))]
    bench = Bench([there(ANTHROPIC, "a"), there(OPENAI, "b")])
    ran = await bench.run(asks(body={"n": 2}), a=lost, b=[Reply(whole("Hi"))])
    assert (ran.words, ran.asked) == ("Hi", ["a", "b"])
    assert "x-sidecar-losses" not in ran.response.headers


async def test_a_relayed_request_loses_nothing() -> None:
    ran = await Bench([there(OPENAI, "a")]).run(asks(body={"n": 2}), a=[Reply(whole("Hi"))])
    assert "x-sidecar-losses" not in ran.response.headers


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("é\r\nset-cookie: a=b", "???set-cookie??a?b"),
        ("a, b", "a??b"),
        ("tools[0].x_y-z", "tools[0].x_y-z"),
        ("x" * 500, "x" * LONGEST_FIELD),
    ],
)
async def test_a_name_that_a_client_made_up_breaks_no_header(name: str, shown: str) -> None:
    bench = Bench([there(ANTHROPIC, "a")])
    ran = await bench.run(asks(body={name: 1}), a=[Reply(message(text("Hi")))])
    named = ran.response.headers["x-sidecar-losses"].split(", ")
    assert shown in named
    assert "set-cookie" not in ran.response.headers


async def test_a_header_names_only_so_many() -> None:
    many = {f"field_{number}": 1 for number in range(1000)}
    bench = Bench([there(ANTHROPIC, "a")])
    ran = await bench.run(asks(body=many), a=[Reply(message(text("Hi")))])
    named = ran.response.headers["x-sidecar-losses"].split(", ")
    assert (len(named), named[-1]) == (LOSSES_NAMED + 1, "...")
    counted = bench.value(
        "translation_losses_total", of="openai", to="anthropic", severity="semantic"
    )
    assert counted == 1000


# --- usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("usage", "estimated"), [({}, 1), ({"input_tokens": 3}, 0)])
async def test_estimated_usage_is_counted(usage: dict[str, int], estimated: int) -> None:
    bench = Bench([there(ANTHROPIC, "a")])
    await bench.run(asks(), a=[Reply(message(text("Hello"), usage=usage))])
    assert bench.value("usage_estimated_total", route="chat", backend="a") == estimated
    tokens = bench.value("tokens_total", route="chat", backend="a", type="input")
    assert tokens == (7 if estimated else 3)


LONG = {"messages": [{"role": "user", "content": "x" * 2000}]}


async def test_a_backend_teaches_its_ratio_once_in_a_while() -> None:
    bench = Bench([there(ANTHROPIC, "a"), there(OPENAI, "b")])
    key = ModelKey("a", "m")

    async def ratio_after(tokens: int, **more: Any) -> float:
        usage = {"input_tokens": tokens, "output_tokens": 2} if tokens else {}
        reply = Reply(message(text("Hi"), usage=usage))
        await bench.run(asks(body=LONG, **more), a=[reply])
        return bench.store.calibration.ratio(key)

    usual = bench.store.calibration.ratio(key)
    assert await ratio_after(0) == usual, "an estimate teaches nothing"
    learnt = await ratio_after(1000)
    assert learnt > usual
    bench.now += CALIBRATE_EVERY - 0.1
    assert await ratio_after(1000) == learnt
    bench.now += 0.1
    assert await ratio_after(1000) > learnt
    assert bench.store.calibration.ratio(ModelKey("b", "m")) == usual


async def test_a_broken_part_fails_no_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each optional part for real: what it calls raises."""
    bench = Bench([there(ANTHROPIC, "a")])

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(type(bench.store.calibration), "learn", broken)
    monkeypatch.setattr(bench.metrics, "attempts", None)
    monkeypatch.setattr("sidecar.telemetry.recorder.request_line", broken)
    for _ in range(2):
        reply = Reply(message(text("Hi"), usage={"input_tokens": 1000, "output_tokens": 2}))
        ran = await bench.run(asks(body=LONG), a=[reply])
        assert (ran.response.status_code, ran.words) == (200, "Hi")
        bench.now += CALIBRATE_EVERY
    failures = {part: bench.value("optional_failures_total", part=part) for part in Part}
    assert failures == {Part.CALIBRATION: 2, Part.METRICS: 2, Part.LOG: 2}
    said = [record.getMessage() for record in caplog.records]
    assert len([one for one in said if "requests go on" in one]) == len(Part)


async def test_only_chats_teach() -> None:
    raw = json.dumps({"model": "m", "input": "x" * 2000})
    bench = Bench([there(OPENAI, "a")])
    vectors = {"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 1900}}
    request = inbound(raw, operation=Operation.EMBED, path="/v1/embeddings")
    ran = await bench.run(request, a=[Reply(json.dumps(vectors))])
    assert ran.response.status_code == 200
    key = ModelKey("a", "m")
    assert bench.store.calibration.ratio(key) == RuntimeStore().calibration.ratio(key)


# --- streams and batches --------------------------------------------------------------------------


def streamed(request: Inbound) -> Inbound:
    return replace(request, facts=replace(request.facts, stream=True, wants_usage=True))


async def test_a_stream_crosses_to_its_end() -> None:
    script = [*FROM_ANTHROPIC, CLOSED, stops(input_tokens=3, output_tokens=2), ENDS]
    bench = Bench([there(ANTHROPIC, "a")])
    ran = await bench.run(streamed(asks()), a=[Reply(*script, headers=SSE_TYPE)])
    assert ran.response.content.endswith(b"data: [DONE]\n\n")
    assert told(ran.response.content)[-1]["usage"]["completion_tokens"] == 2
    assert bench.value("tokens_total", route="chat", backend="a", type="output") == 2


@pytest.mark.parametrize("client", [OPENAI, RESPONSES, OLLAMA])
async def test_a_stream_that_breaks_is_ended_in_the_clients_words(client: Any) -> None:
    script: list[bytes | Problem] = [*FROM_ANTHROPIC, Problem(K.TRUNCATED, "broke off its answer")]
    bench = Bench([there(ANTHROPIC, "a"), there(OPENAI, "b")])
    ran = await bench.run(streamed(asks(client)), a=[Reply(*script, headers=SSE_TYPE)])
    assert (ran.response.status_code, ran.asked) == (200, ["a"])
    last = told(ran.response.content)[-1]
    assert "Backend 'a' broke off its answer" in json.dumps(last).decode()
    assert b"[DONE]" not in ran.response.content
    assert ran.note.result == "upstream_error"


async def test_what_comes_to_light_at_the_very_end_is_no_good_end_either() -> None:
    nameless = {"tool_calls": [{"index": 0, "id": "c", "function": {"arguments": "{}"}}]}
    late = sse(json.dumps({"choices": [{"index": 0, "delta": nameless, "finish_reason": None}]}))
    script = [says("Hi"), says(finish="stop"), late]
    bench = Bench([there(OPENAI, "a")])
    ran = await bench.run(streamed(asks(ANTHROPIC)), a=[Reply(*script, headers=SSE_TYPE)])
    assert told(ran.response.content)[-1]["type"] == "error"
    assert ran.note.result == "upstream_error"


async def test_a_stream_that_has_only_greeted_is_asked_of_another_dialect() -> None:
    fault = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    again = [Reply(begins(), fault, headers=SSE_TYPE) for _ in range(3)]
    bench = Bench([there(ANTHROPIC, "a"), there(OLLAMA, "b")])
    ran = await bench.run(streamed(asks()), a=again, b=[Reply(done("Hi"))])
    assert ran.asked == ["a", "a", "a", "b"]
    assert "Hi" in ran.response.text and "msg_1" not in ran.response.text


async def test_an_error_of_another_dialect_is_told_in_the_clients() -> None:
    fault = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    refused = [Reply(json.dumps(fault), status=529) for _ in range(3)]
    ran = await Bench([there(ANTHROPIC, "a")]).run(asks(), a=refused)
    assert "Overloaded" in ran.error["message"] and ran.error["type"] == "server_error"


async def test_a_forwarded_key_that_is_refused_is_the_clients() -> None:
    fault = {"type": "error", "error": {"type": "authentication_error", "message": "no"}}
    bench = Bench([there(ANTHROPIC, "a", auth=Forward()), there(OPENAI, "b")])
    ran = await bench.run(asks(key="sk-1"), a=[Reply(json.dumps(fault), status=401)])
    assert (ran.response.status_code, ran.asked) == (401, ["a"])


def vectors(*values: float) -> Reply:
    data = [{"index": place, "embedding": [one]} for place, one in enumerate(values)]
    return Reply(json.dumps({"model": "e", "data": data, "usage": {"prompt_tokens": 3}}))


async def test_batches_are_asked_for_one_after_the_other() -> None:
    raw = json.dumps({"model": "m", "input": ["a", "b", "c"]})
    request = inbound(raw, operation=Operation.EMBED, path="/v1/embeddings")
    bench = Bench([there(OPENAI, "a", batch=2)])
    ran = await bench.run(request, a=[vectors(1, 2), vectors(3)])
    assert [one["embedding"] for one in ran.response.json()["data"]] == [[1], [2], [3]]
    assert [one["input"] for one in ran.sent] == [["a", "b"], ["c"]]
    assert bench.value("tokens_total", route="chat", backend="a", type="input") == 6
    assert ran.outcomes == ["ok"]


async def test_a_batch_that_fails_fails_the_attempt() -> None:
    raw = json.dumps({"model": "m", "input": ["a", "b", "c"]})
    request = inbound(raw, operation=Operation.EMBED, path="/v1/embeddings")
    bench = Bench([there(OPENAI, "a", batch=2)])
    script = [vectors(1, 2), Reply(b"{}", status=500), vectors(1, 2), vectors(3)]
    ran = await bench.run(request, a=script)
    assert ran.response.status_code == 200
    assert ran.outcomes == ["server_error", "ok"]
    short = await bench.run(request, a=[vectors(1, 2), vectors(3, 4)])
    assert short.response.status_code == 502
    assert "2 vectors for 1 inputs" in short.error["message"]


# --- ejections ------------------------------------------------------------------------------------


async def test_the_load_of_a_model_is_known_to_who_judges_its_pace() -> None:
    bench = Bench([there(OLLAMA, "a")])
    loaded = done("Hi", load_duration=2_500_000_000, prompt_eval_count=1, eval_count=1)
    ran = await bench.run(asks(), a=[Reply(loaded)])
    assert [(one.load, one.streamed) for one in ran.note.attempts] == [(2.5, False)]


async def test_why_the_first_target_was_passed_over_is_noted() -> None:
    bench = Bench([there(OPENAI, "a"), there(OPENAI, "b")])
    bench.store.eject(bench.backends[0], bench.now)
    ran = await bench.run(asks(), b=[Reply(whole("Hi"))])
    assert ran.asked == ["b"]
    assert bench.value("fallbacks_total", route="chat", reason="circuit_open") == 1


# --- backends without room ------------------------------------------------------------------------


def narrow(name: str, size: int = 0) -> Backend:
    return replace(there(OPENAI, name), bounds=Bounds(in_flight=1, size=size, wait=0.01))


def taken(bench: Bench, *names: str) -> None:
    """The only place at these backends is taken by somebody else."""
    for one in bench.backends:
        if one.name in names:
            assert bench.store.state(one).line.enter(one.bounds)


@pytest.mark.parametrize("size", [0, 1])
async def test_a_backend_without_room_is_passed_over(size: int) -> None:
    bench = Bench([narrow("a", size), narrow("b")])
    taken(bench, "a")
    ran = await bench.run(asks(), b=[Reply(whole("Hi"))])
    assert (ran.response.status_code, ran.asked) == (200, ["b"])
    assert ran.response.headers["x-sidecar-attempts"] == "1"
    assert bench.value("fallbacks_total", route="chat", reason="full") == 1
    assert bench.value("fallbacks_total", route="chat", reason="resting") == 0
    assert bench.store.state(bench.backends[0]).failed == 0
    assert [bench.store.state(one).line.in_flight for one in bench.backends] == [1, 0]


async def test_where_nobody_has_room_the_client_is_told_who_and_what_to_do() -> None:
    bench = Bench([narrow("a"), narrow("b", size=1)])
    taken(bench, "a", "b")
    ran = await bench.run(asks())
    assert (ran.response.status_code, ran.asked) == (503, [])
    assert ran.response.headers["retry-after"] == "5"
    assert "x-should-retry" not in ran.response.headers
    assert ran.error["code"] == "overloaded"
    told = ran.error["message"]
    assert "a: takes no more requests at once, and has no queue (1 in flight, 0 waiting)" in told
    assert "b: had no free place in the time that a request may wait" in told
    assert "raise `in_flight`" in told and "add a target" in told
    assert ran.note.result == "overloaded"
    assert bench.value("rejected_requests_total", reason="overload") == 1
    assert bench.value("fallbacks_total", route="chat", reason="full") == 0


async def test_a_retry_keeps_its_place() -> None:
    bench = Bench([narrow("a")])
    failed = Problem(K.CONNECT, "refused the connection")
    ran = await bench.run(asks(), a=[failed, failed, Reply(whole("Hi"))])
    assert (ran.response.status_code, ran.asked) == (200, ["a", "a", "a"])
    assert bench.store.state(bench.backends[0]).line.in_flight == 0


async def test_who_found_the_next_full_does_not_come_back_for_ever() -> None:
    bench = Bench([narrow("a"), narrow("b")])
    taken(bench, "b")
    lost = Problem(K.TIMEOUT, "said nothing")
    ran = await bench.run(asks(), a=[lost])
    assert (ran.response.status_code, ran.asked) == (504, ["a"])
    assert ran.error["message"] == (
        "No backend of this route could answer. a: said nothing; b: takes no more requests at "
        "once, and has no queue (1 in flight, 0 waiting)."
    )
    assert [bench.store.state(one).line.in_flight for one in bench.backends] == [0, 1]


async def test_a_place_is_free_again_whatever_ends_the_answer() -> None:
    bench = Bench([narrow("a")])
    line = bench.store.state(bench.backends[0]).line
    cut = [Reply(says("Hel"), Problem(K.TRUNCATED, "broke off"), headers=SSE_TYPE)]
    for script in ([Reply(b"{}", status=400)], [Reply(b"", status=401)], cut):
        await bench.run(asks(stream=True), a=script)
        assert line.in_flight == 0
