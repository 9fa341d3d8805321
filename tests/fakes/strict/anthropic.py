"""Anthropic Messages, strictly: https://platform.claude.com/docs/en/api/messages.

Stricter than the vendor in one point: it joins neighbours of one role, this one wants them to
alternate, as the vendor's own documentation of the conversation does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.fakes.seen import Seen
from tests.fakes.strict import anthropic_answers as told
from tests.fakes.strict import model
from tests.fakes.strict.backend import KEY, Vendor
from tests.fakes.strict.model import Asked, Picture
from tests.fakes.strict.schemas import closed, of_object
from tests.fakes.strict.shapes import (
    Json,
    Refused,
    Shape,
    anything,
    either,
    filled,
    items,
    listed,
    mapping,
    matching,
    nullable,
    number,
    one_of,
    part,
    record,
    tagged,
    text,
    truth,
    whole,
)

NAME = "anthropic"
VERSIONS = ("2023-06-01", "2026-10-21")
SAMPLING = {"temperature", "top_p", "top_k"}  # gone in the second version

CACHE = nullable(record({"type": one_of("ephemeral")}, {"ttl": one_of("5m", "1h")}))
CACHED: Mapping[str, Shape] = {"cache_control": CACHE}
TEXT = record(
    {"type": anything, "text": filled}, {**CACHED, "citations": nullable(listed(mapping))}
)
ADDRESS = record({"type": anything, "url": matching("https?://.+")})


def base64_of(*kinds: str) -> Shape:
    """The bytes of a file of these kinds."""
    shape = record({"type": anything, "data": filled, "media_type": one_of(*kinds)})

    def check(value: object, at: str) -> None:
        shape(value, at)
        source = part(value)
        model.picture(source["data"], str(source["media_type"]), f"{at}.data")

    return check


IMAGE_SOURCE = tagged(
    {
        "base64": base64_of("image/jpeg", "image/png", "image/gif", "image/webp"),
        "url": ADDRESS,
    }
)
IMAGE = record({"type": anything, "source": IMAGE_SOURCE}, CACHED)
DOCUMENT_SOURCE = tagged(
    {
        "base64": base64_of("application/pdf"),
        "text": record({"type": anything, "data": filled, "media_type": one_of("text/plain")}),
        "url": ADDRESS,
    }
)
DOCUMENT = record(
    {"type": anything, "source": DOCUMENT_SOURCE},
    {**CACHED, "title": nullable(text), "context": nullable(text), "citations": nullable(mapping)},
)
TOOL_ID = matching("[a-zA-Z0-9_-]+")
TOOL_NAME = matching("[a-zA-Z0-9_-]{1,128}")
TOOL_RESULT = record(
    {"type": anything, "tool_use_id": TOOL_ID},
    {
        **CACHED,
        "content": either(
            text, listed(tagged({"text": TEXT, "image": IMAGE, "document": DOCUMENT}))
        ),
        "is_error": truth,
    },
)
TOOL_USE = record(
    {"type": anything, "id": TOOL_ID, "name": TOOL_NAME, "input": mapping},
    {**CACHED, "caller": nullable(mapping)},
)
THINKING = record({"type": anything, "thinking": text, "signature": text})
REDACTED = record({"type": anything, "data": filled})
USER: Mapping[str, Shape] = {
    "text": TEXT,
    "image": IMAGE,
    "document": DOCUMENT,
    "tool_result": TOOL_RESULT,
}
ASSISTANT: Mapping[str, Shape] = {
    "text": TEXT,
    "thinking": THINKING,
    "redacted_thinking": REDACTED,
    "tool_use": TOOL_USE,
}
MESSAGE = tagged(
    {
        role: record({"role": anything, "content": either(filled, listed(tagged(blocks), least=1))})
        for role, blocks in {"user": USER, "assistant": ASSISTANT}.items()
    },
    "role",
)
TOOL = record(
    {"name": TOOL_NAME, "input_schema": of_object},
    {
        **CACHED,
        "type": nullable(one_of("custom")),
        "description": text,
        "strict": truth,
        "eager_input_streaming": nullable(truth),
    },
)
SERIAL = {"disable_parallel_tool_use": truth}
TOOL_CHOICE = tagged(
    {
        "auto": record({"type": anything}, SERIAL),
        "any": record({"type": anything}, SERIAL),
        "tool": record({"type": anything, "name": TOOL_NAME}, SERIAL),
        "none": record({"type": anything}),
    }
)
DISPLAY = {"display": nullable(one_of("summarized", "omitted"))}
THINKING_CONFIG = tagged(
    {
        "enabled": record({"type": anything, "budget_tokens": whole(1024)}, DISPLAY),
        "adaptive": record({"type": anything}, DISPLAY),
        "disabled": record({"type": anything}),
    }
)
OUTPUT_CONFIG = record(
    {},
    {
        "effort": nullable(one_of("low", "medium", "high", "xhigh", "max")),
        "format": nullable(record({"type": one_of("json_schema"), "schema": closed})),
    },
)
REQUEST = record(
    {"model": filled, "messages": listed(MESSAGE, least=1), "max_tokens": whole(1)},
    {
        "system": either(text, listed(TEXT)),
        "stream": truth,
        "temperature": number(0, 1),
        "top_p": number(0, 1),
        "top_k": whole(0),
        "stop_sequences": listed(filled),
        "tools": listed(TOOL),
        "tool_choice": TOOL_CHOICE,
        "thinking": THINKING_CONFIG,
        "output_config": OUTPUT_CONFIG,
        "metadata": record({}, {"user_id": nullable(text)}),
        "service_tier": one_of("auto", "standard_only"),
        **CACHED,
    },
)


@dataclass(frozen=True)
class Age:
    """What models of one age take."""

    most: int = 128_000  # tokens that it writes
    thinking: str = "adaptive"
    samples: bool = False
    continues: bool = False  # goes on with a last turn of the assistant


AGES: Mapping[str, Age] = {  # by a part of the name; all others are new
    "claude-3-haiku": Age(most=4096, thinking="none", samples=True, continues=True),
    "-4-5": Age(most=64_000, thinking="enabled", samples=True, continues=True),
    "-4-6": Age(samples=True),
}


def _age(body: Json) -> Age:
    model_name = str(body["model"])
    return next((age for name, age in AGES.items() if name in model_name), Age())


def authorised(seen: Seen) -> None:
    """The key in either of two headers (the vendor's own client sends a bearer token)."""
    if KEY not in (seen.header("x-api-key"), (seen.header("authorization") or "")[7:]):
        raise Refused("", "invalid x-api-key", 401)
    version = seen.header("anthropic-version")
    if version not in VERSIONS:
        raise Refused("anthropic-version", f"{version} is not a valid version")
    if version == VERSIONS[1] and (gone := SAMPLING & set(seen.json)):
        raise Refused(min(gone), "Extra inputs are not permitted")


def read(body: Json) -> Asked:
    """Check a request, and give what it asks. Raises Refused."""
    REQUEST(body, "")
    messages = [(str(each["role"]), blocks(each["content"])) for each in items(body["messages"])]
    _roles(messages)
    for place, (role, content) in enumerate(messages):
        before = messages[place - 1][1] if place else ()
        if role == "user":
            _results(before, content, place)
        else:
            _thinking(content, place)
    _size(body)
    if messages[-1][0] == "assistant":
        _prefill(body, messages[-1][1])
    _tools(body)
    _thinking_rules(body, messages)
    _once(body)
    return _asked(body, messages)


Turn = tuple[str, Sequence[Json]]


def blocks(content: object) -> Sequence[Json]:
    """The content of a message; a string is short for one text."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else items(content)


def _roles(messages: Sequence[Turn]) -> None:
    for place, (role, _) in enumerate(messages):
        if role != ("user", "assistant")[place % 2]:
            raise Refused(
                f"messages.{place}.role", "roles must alternate, and the first must be user"
            )


def _ids(content: Sequence[Json], kind: str, member: str) -> list[object]:
    return [each[member] for each in content if each["type"] == kind]


def _results(before: Sequence[Json], content: Sequence[Json], place: int) -> None:
    called = _ids(before, "tool_use", "id")
    answered = _ids(content, "tool_result", "tool_use_id")
    if missing := [each for each in called if each not in answered]:
        raise Refused(
            f"messages.{place - 1}",
            "`tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(map(str, missing))}",
        )
    for each in answered:
        if each not in called or answered.count(each) > 1:
            raise Refused(
                f"messages.{place}.content",
                f"unexpected `tool_use_id` found in `tool_result` blocks: {each}",
            )
    if any(each["type"] == "tool_result" for each in content[len(answered) :]):
        raise Refused(f"messages.{place}.content", "tool results must stand before anything else")
    for number_, each in enumerate(content[: len(answered)]):
        if each.get("is_error") is True and not each.get("content"):
            raise Refused(f"messages.{place}.content.{number_}", "content cannot be empty on error")


def _thinking(content: Sequence[Json], place: int) -> None:
    ids = _ids(content, "tool_use", "id")
    if len(set(ids)) < len(ids):
        raise Refused(f"messages.{place}", "`tool_use` ids must be unique")
    for number_, each in enumerate(content):
        if each["type"] != "thinking":
            continue
        if each["signature"] != model.signature(NAME, str(each["thinking"])):
            raise Refused(
                f"messages.{place}.content.{number_}", "Invalid `signature` in `thinking` block"
            )


def _tools(body: Json) -> None:
    names = [each["name"] for each in items(body.get("tools"))]
    if len(set(names)) < len(names):
        raise Refused("tools", "Tool names must be unique.")
    choice = part(body.get("tool_choice"))
    if choice and not names:
        raise Refused("tool_choice", "may only be specified while providing `tools`")
    if choice.get("type") == "tool" and choice["name"] not in names:
        raise Refused("tool_choice", f"Tool '{choice['name']}' not found in provided tools")


def _thinking_rules(body: Json, messages: Sequence[Turn]) -> None:
    kind = part(body.get("thinking")).get("type")
    if kind not in ("enabled", "adaptive"):
        return
    if kind != _age(body).thinking:
        raise Refused("", f'"thinking.type.{kind}" is not supported for this model.')
    if body.get("temperature", 1) != 1 or "top_k" in body:
        raise Refused("temperature", "may only be set to 1 when thinking is enabled")
    if part(body.get("tool_choice")).get("type") in ("any", "tool"):
        raise Refused("thinking", "may not be enabled when tool_choice forces tool use")
    if kind == "enabled":
        _budget_rules(body, messages)


def _size(body: Json) -> None:
    most, asked = _age(body).most, int(str(body["max_tokens"]))
    if asked > most:
        raise Refused(
            "max_tokens",
            f"{asked} > {most}, which is the maximum allowed number of output tokens for "
            f"{body['model']}",
        )


def _prefill(body: Json, last: Sequence[Json]) -> None:
    if not _age(body).continues or "thinking" in body:
        raise Refused("", "The conversation must end with a user message.")
    text = str(last[-1].get("text", ""))
    if text != text.rstrip():
        raise Refused("messages", "final assistant content cannot end with trailing whitespace")


def _budget_rules(body: Json, messages: Sequence[Turn]) -> None:
    budget = part(body["thinking"])["budget_tokens"]
    if int(str(budget)) >= int(str(body["max_tokens"])):
        raise Refused("max_tokens", "must be greater than `thinking.budget_tokens`")
    in_tool_loop = bool(_ids(messages[-1][1], "tool_result", "tool_use_id"))
    if in_tool_loop and "thinking" not in str(messages[-2][1][0]["type"]):
        raise Refused(
            f"messages.{len(messages) - 2}.content.0.type",
            "Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is "
            "enabled, a final `assistant` message must start with a thinking block",
        )


def _once(body: Json) -> None:
    """What a request may say only so often, or not at all to the newer models."""
    if not _age(body).samples and (gone := SAMPLING & set(body)):
        raise Refused(min(gone), "is not supported for this model")
    if "temperature" in body and "top_p" in body:
        raise Refused("", "`temperature` and `top_p` cannot both be specified for this model")
    if repr(body).count("'cache_control': {") > 4:
        raise Refused("", "A maximum of 4 blocks with cache_control may be provided.")


def _asked(body: Json, messages: Sequence[Turn]) -> Asked:
    names = {
        each["id"]: str(each["name"])
        for _, content in messages
        for each in content
        if each["type"] == "tool_use"
    }
    last = messages[-1][1]
    choice = part(body.get("tool_choice"))
    tools = {str(each["name"]): part(each["input_schema"]) for each in items(body.get("tools"))}
    forced = {"tool": str(choice.get("name")), "any": next(iter(tools), "")}
    return Asked(
        model=str(body["model"]),
        text=_text(last),
        system=_text(blocks(body.get("system", []))),
        pictures=list(_pictures(last)),
        tools={} if choice.get("type") == "none" else tools,
        must_call=forced.get(str(choice.get("type"))),
        results=[
            (names[each["tool_use_id"]], _text(blocks(each.get("content", []))))
            for each in last
            if each["type"] == "tool_result"
        ],
        thinks=part(body.get("thinking")).get("type") in ("enabled", "adaptive"),
        schema=_schema(part(body.get("output_config"))),
        stops=[str(each) for each in _list(body.get("stop_sequences"))],
    )


def _schema(config: Json) -> Json | None:
    form = part(config.get("format"))
    return part(form["schema"]) if form else None


def _text(content: Sequence[Json]) -> str:
    return "".join(str(each["text"]) for each in content if each["type"] == "text")


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []


def _pictures(content: Sequence[Json]) -> Iterator[Picture]:
    for block in content:
        source = part(block.get("source"))
        if block["type"] == "tool_result":
            yield from _pictures(blocks(block.get("content", [])))
        elif source.get("type") == "url":
            yield Picture(str(block["type"]), None)
        elif source.get("type") == "base64":
            yield model.picture(source["data"], str(source["media_type"]), "messages.content")


VENDOR = Vendor(
    name=NAME,
    family="claude-opus-4-8",
    prefix="",
    path="/v1/messages",
    stream_type="text/event-stream; charset=utf-8",
    streams_unasked=False,
    overloaded=529,
    authorised=authorised,
    read=read,
    whole=told.whole,
    frames=told.frames,
    error=told.error,
    failure=told.failure,
    lookups={"/v1/models": told.models},
)
