"""The features of the matrix: what is asked, and what the client must then hold in its hands.

A scenario asserts meaning: the little model of the strict backends repeats what reached it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.client import HANG
from tests.e2e.matrix.talk import Answer, Ask, Client, Earlier, Failed, Stop, Tokens, Tool, Why
from tests.fakes.strict import model
from tests.fakes.strict.backend import StrictBackend

WEATHER = Tool(
    "weather",
    "The weather of a place.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
)
CLOCK = Tool(
    "clock",
    "The time at a place.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PAGE = b"%PDF-1.7 a page"
WORDS = "Wie geht's, «Welt»? 🙂"
ROLE = "a polite tester"


@dataclass(frozen=True)
class Stage:
    """One cell on its stage.

    `prefix` stands before the name of a model: it picks the backend. `direct`: no sidecar between.
    """

    client: Client
    backend: StrictBackend
    stream: bool
    prefix: str = ""
    direct: bool = False

    def request(self, scenario: str, text: str = WORDS, **more: Any) -> Ask:
        name = f"{self.prefix}{self.backend.vendor.family}:{scenario}"
        return Ask(name, self.stream, text, **more)

    async def ask(self, scenario: str, text: str = WORDS, **more: Any) -> tuple[Ask, Answer]:
        ask = self.request(scenario, text, **more)
        answer = await self.client.ask(ask)
        assert answer.model == ask.model
        return ask, answer

    async def fails(self, scenario: str) -> Failed:
        ask = self.request(scenario, system=ROLE)
        self.backend.go_on = ask.heard
        with pytest.raises(Failed) as caught:
            await asyncio.wait_for(self.client.ask(ask), HANG)
        return caught.value

    @property
    def usual(self) -> str:
        return model.usual(self.backend.name, ROLE, WORDS)


async def text(stage: Stage) -> None:
    _, answer = await stage.ask("text", system=ROLE)
    assert (answer.text, answer.stop) == (stage.usual, Stop.END)


async def _tools(stage: Stage, scenario: str, tools: list[Tool], *, thinks: bool = False) -> None:
    ask, answer = await stage.ask(scenario, system=ROLE, tools=tools, thinks=thinks)
    assert answer.thinking == (model.THOUGHT if thinks else "")
    assert (answer.text, answer.stop) == ("", Stop.TOOLS)
    told = [(call.name, call.arguments) for call in answer.calls]
    assert told == [(tool.name, model.sample(tool.schema)) for tool in tools]
    assert len({call.id for call in answer.calls}) == len(tools)
    # in another order than that of the calls, which is no fault
    results = {call.id: f"21 °C at {call.name}" for call in reversed(answer.calls)}
    before = Earlier(ask, answer, results)
    _, then = await stage.ask(scenario, "", tools=tools, thinks=thinks, before=before)
    who, _, got = then.text.partition(" got ")
    assert (who, then.stop) == (stage.backend.name, Stop.END)
    assert set(got.split("; ")) == {f"{tool.name}: 21 °C at {tool.name}" for tool in tools}


async def tools(stage: Stage) -> None:
    await _tools(stage, "tools", [WEATHER])


async def parallel_tools(stage: Stage) -> None:
    await _tools(stage, "parallel", [WEATHER, CLOCK])


async def image_in_a_result(stage: Stage) -> None:
    ask, answer = await stage.ask("tools", tools=[WEATHER])
    before = Earlier(ask, answer, {answer.calls[0].id: DOT})
    _, then = await stage.ask("tools", "", tools=[WEATHER], before=before)
    assert then.text.startswith(f"{stage.backend.name} got weather: ")
    assert then.text.endswith(f"sees image/png of {len(DOT)} bytes")


async def image(stage: Stage) -> None:
    _, answer = await stage.ask("image", image=DOT)
    assert answer.text == f"{stage.backend.name} sees image/png of {len(DOT)} bytes"


async def image_url(stage: Stage) -> None:
    _, answer = await stage.ask("image", image_url="https://pictures.example/dot.png")
    assert answer.text == f"{stage.backend.name} sees image at an address"


async def document(stage: Stage) -> None:
    _, answer = await stage.ask("document", document=PAGE)
    assert answer.text == f"{stage.backend.name} sees application/pdf of {len(PAGE)} bytes"


async def out_of_tokens(stage: Stage) -> None:
    _, answer = await stage.ask("length", system=ROLE)
    assert (answer.text, answer.stop) == (stage.usual, Stop.LENGTH)


async def thinking(stage: Stage) -> None:
    """Two turns: what the first one thought goes back, with the proof of a backend that signs."""
    ask, answer = await stage.ask("thinking", system=ROLE, thinks=True)
    assert (answer.thinking, answer.text) == (model.THOUGHT, stage.usual)
    _, then = await stage.ask("thinking", "And you?", thinks=True, before=Earlier(ask, answer))
    assert then.text == model.usual(stage.backend.name, ROLE, "And you?")


async def thinking_and_tools(stage: Stage) -> None:
    await _tools(stage, "thinking", [WEATHER], thinks=True)


def thought_again(stage: Stage) -> bool:
    """Whether the backend got in the second turn what proves its thinking, or just the thinking."""
    name, again = stage.backend.name, stage.backend.requests[-1].json
    proof = model.signature(name, model.THOUGHT)
    return (proof if name in ("anthropic", "openai-responses") else model.THOUGHT) in repr(again)


async def structured_output(stage: Stage) -> None:
    _, answer = await stage.ask("structured", schema=PLACE)
    assert json.loads(answer.text) == model.sample(PLACE)
    assert answer.stop is Stop.END


async def json_mode(stage: Stage) -> None:
    _, answer = await stage.ask("json", "Who are you? Answer in JSON.", as_json=True)
    assert json.loads(answer.text) == {"who": stage.backend.name}
    assert answer.stop is Stop.END


async def stop_sequence(stage: Stage) -> None:
    _, answer = await stage.ask("stop", system=ROLE, stops=["NEVER", model.STOP_WORD])
    expected: tuple[str, Stop, str | None]
    cut_off = stage.usual.partition(model.STOP_WORD)[0]
    if stage.backend.name == "openai-responses":  # it knows none, and goes on
        expected = (stage.usual, Stop.END, None)
    elif "ollama" in (stage.client.dialect, stage.backend.name):  # it does not say which
        expected = (cut_off, Stop.END, None)
    else:
        expected = (cut_off, Stop.STOP_SEQUENCE, model.STOP_WORD)
    assert (answer.text, answer.stop, answer.matched) == expected


async def usage(stage: Stage) -> None:
    _, answer = await stage.ask("usage")
    if stage.client.dialect == "ollama":
        assert answer.tokens == Tokens(model.INPUT, model.OUTPUT)
    elif stage.backend.name == "ollama":
        assert answer.tokens == Tokens(model.INPUT, model.OUTPUT, 0, 0, 0)
    else:
        parts = (model.CACHED, model.WRITTEN, model.REASONED)
        assert answer.tokens == Tokens(model.INPUT, model.OUTPUT, *parts)


async def rate_limited(stage: Stage) -> None:
    failed = await stage.fails("error-429")
    assert (failed.why, failed.heard) == (Why.RATE_LIMITED, ""), failed


async def server_error(stage: Stage) -> None:
    for scenario in ("error-500", "error-overloaded"):
        failed = await stage.fails(scenario)
        assert (failed.why, failed.heard) == (Why.SERVER, ""), failed


async def error_in_stream(stage: Stage) -> None:
    failed = await stage.fails("breaks")
    assert failed.why is Why.IN_STREAM, failed
    assert failed.heard
    assert stage.usual.startswith(failed.heard)
    assert failed.heard != stage.usual


async def cut(stage: Stage) -> None:
    """A whole answer that breaks off is an error; a stream tells so, and never looks finished.

    Without the sidecar the client is not told: it has to notice by itself.
    """
    failed = await stage.fails("cut")
    if stage.direct:
        assert failed.why in (Why.CONNECTION, Why.UNFINISHED), failed
    else:
        assert failed.why is (Why.IN_STREAM if stage.stream else Why.SERVER), failed
    assert stage.usual.startswith(failed.heard)
    assert failed.heard != stage.usual
    assert bool(failed.heard) is stage.stream


async def cancel(stage: Stage) -> None:
    ask = stage.request("silent", system=ROLE)
    if stage.stream:
        await stage.client.leave(ask)
        seen = stage.backend.requests[-1]
    else:
        expected = len(stage.backend.requests) + 1
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(stage.client.ask(ask))
            seen = await stage.backend.seen(expected)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
    await asyncio.wait_for(seen.left.wait(), HANG)
    assert not seen.answered.is_set()


Scenario = Callable[[Stage], Awaitable[None]]
SCENARIOS: Mapping[str, Scenario] = {
    "text": text,
    "tools": tools,
    "parallel tools": parallel_tools,
    "image": image,
    "image by URL": image_url,
    "image in a result": image_in_a_result,
    "document": document,
    "thinking": thinking,
    "thinking and tools": thinking_and_tools,
    "structured output": structured_output,
    "JSON mode": json_mode,
    "stop sequence": stop_sequence,
    "out of tokens": out_of_tokens,
    "usage": usage,
    "rate limit": rate_limited,
    "error before": server_error,
    "error in mid-stream": error_in_stream,
    "cut": cut,
    "cancel": cancel,
}
ONLY_STREAMED = {"error in mid-stream"}
