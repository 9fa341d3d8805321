"""Ollama's own API, strictly: https://github.com/ollama/ollama/blob/main/docs/api.md.

Stricter than the vendor in two points: it ignores fields and warns of options that it does not
know, this one refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.seen import Seen
from tests.fakes.strict import model
from tests.fakes.strict import ollama_answers as told
from tests.fakes.strict.backend import Vendor
from tests.fakes.strict.model import Asked
from tests.fakes.strict.openai_chat import last_turn
from tests.fakes.strict.schemas import of_object
from tests.fakes.strict.shapes import (
    Json,
    Refused,
    either,
    filled,
    items,
    listed,
    mapping,
    nullable,
    number,
    one_of,
    part,
    record,
    text,
    truth,
    whole,
)

NAME = "ollama"

CALL = record(
    {"function": record({"name": filled, "arguments": mapping}, {"index": whole(0)})},
    {"id": filled},
)
MESSAGE = record(
    {"role": one_of("system", "user", "assistant", "tool")},
    {
        "content": text,
        "thinking": text,
        "images": listed(model.bare),
        "tool_calls": listed(CALL),
        "tool_name": filled,
        "tool_call_id": filled,
    },
)
TOOL = record(
    {
        "type": one_of("function"),
        "function": record({"name": filled, "parameters": of_object}, {"description": text}),
    }
)
WHOLE = whole()
REAL = number()
OPTIONS = record(
    {},
    {
        **dict.fromkeys(("num_ctx", "num_predict", "num_keep", "num_batch", "num_gpu"), WHOLE),
        **dict.fromkeys(("num_thread", "main_gpu", "seed", "top_k", "repeat_last_n"), WHOLE),
        **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p"), REAL),
        **dict.fromkeys(("repeat_penalty", "presence_penalty", "frequency_penalty"), REAL),
        "use_mmap": truth,
        "stop": listed(text),
    },
)


def _format(value: object, at: str) -> None:
    if value not in ("", "json") and not isinstance(value, dict):
        raise Refused(at, 'invalid JSON schema in format: must be "json" or a schema')


def _think(value: object, at: str) -> None:
    if not isinstance(value, bool):
        one_of("low", "medium", "high", "max")(value, at)


REQUEST = record(
    {"model": filled},
    {
        "messages": listed(MESSAGE),
        "stream": truth,
        "format": _format,
        "options": OPTIONS,
        "tools": listed(TOOL),
        "think": nullable(_think),
        "keep_alive": either(text, number()),
        "truncate": truth,
        "shift": truth,
        "logprobs": truth,
        "top_logprobs": whole(0, 20),
    },
)


def authorised(seen: Seen) -> None:
    """Nobody needs a key; nobody else's may come here."""
    if seen.header("authorization") is not None or seen.header("x-api-key") is not None:
        raise Refused("", "a key was sent to a server that asks for none", 401)


def read(body: Json) -> Asked:
    """Check a request, and give what it asks. Raises Refused."""
    REQUEST(body, "")
    name = str(body["model"])
    messages = items(body.get("messages"))
    if body.get("think") not in (None, False) and not model.can_think(name):
        raise Refused("", f'"{name}" does not support thinking')
    _calls_are_answered(messages)
    for place, message in enumerate(messages):
        if "images" in message and message["role"] != "user":
            raise Refused(f"messages.{place}.images", "only users send images")
        if place and message["role"] == "system":  # so says the server for Qwen's newer models
            raise Refused(f"messages.{place}", "system message must be at the beginning")
    return _asked(body, messages)


def _calls_are_answered(messages: Sequence[Json]) -> None:
    waiting: list[Json] = []
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            _result(message, waiting, f"messages.{place}")
            continue
        if waiting:
            raise Refused(f"messages.{place}", "comes before the results of all tools")
        waiting = list(items(message.get("tool_calls")))


def _result(message: Json, waiting: list[Json], at: str) -> None:
    if not waiting:
        raise Refused(at, "is the result of a tool that was not called")
    wanted = message.get("tool_name"), message.get("tool_call_id")
    fitting = [
        call
        for call in waiting
        if part(call["function"])["name"] == wanted[0] and wanted[1] in (None, call.get("id"))
    ]
    if not fitting:
        raise Refused(at, f"names no waiting call: {wanted}")
    waiting.remove(fitting[0])


def _asked(body: Json, messages: Sequence[Json]) -> Asked:
    users = [each for each in messages if each["role"] == "user"]
    turn = last_turn(messages, [each["role"] == "assistant" for each in messages])
    form = body.get("format")
    stops = part(body.get("options")).get("stop", [])
    functions = [part(each["function"]) for each in items(body.get("tools"))]
    return Asked(
        model=str(body["model"]),
        text=str(users[-1].get("content", "")) if users else "",
        system=" ".join(str(each["content"]) for each in messages if each["role"] == "system"),
        pictures=[
            model.bare(data, "messages.images")
            for each in turn
            for data in items(each.get("images"))
        ],
        tools={str(each["name"]): part(each["parameters"]) for each in functions},
        results=[
            (str(each["tool_name"]), str(each.get("content", "")))
            for each in turn
            if each["role"] == "tool"
        ],
        # a model that can think does so unless it is told not to
        thinks=model.can_think(str(body["model"])) and body.get("think") is not False,
        schema=form if isinstance(form, dict) else None,
        as_json=form == "json",
        stops=[str(each) for each in items(stops)],
    )


VENDOR = Vendor(
    name=NAME,
    family="qwen3",
    prefix="",
    path="/api/chat",
    stream_type="application/x-ndjson",
    streams_unasked=True,
    overloaded=503,
    authorised=authorised,
    read=read,
    whole=told.whole,
    frames=told.frames,
    error=told.error,
    failure=told.failure,
    lookups={"/api/show": told.show, "/api/tags": told.tags, "/api/version": told.version},
)
