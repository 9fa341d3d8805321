"""OpenAI chat completions, strictly: https://platform.openai.com/docs/api-reference/chat.

Two things it has from the vendors that speak the dialect, not from OpenAI: thinking as
`reasoning_content` (which it also takes back), and the matched stop sequence as the `stop_reason`
of a choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.fakes.strict import model
from tests.fakes.strict import openai_chat_answers as told
from tests.fakes.strict.backend import Vendor, bearer
from tests.fakes.strict.model import Asked, Picture
from tests.fakes.strict.schemas import all_required, of_object
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

NAME = "openai"

TEXT = record({"type": anything, "text": text})
IMAGE = record(
    {
        "type": anything,
        "image_url": record({"url": model.data_uri}, {"detail": one_of("auto", "low", "high")}),
    }
)
AUDIO = record(
    {
        "type": anything,
        "input_audio": record({"data": filled, "format": one_of("wav", "mp3")}),
    }
)
FILE = record(
    {
        "type": anything,
        "file": record({}, {"file_data": model.data_uri, "file_id": filled, "filename": filled}),
    }
)
REFUSAL = record({"type": anything, "refusal": text})
FUNCTION_NAME = matching("[a-zA-Z0-9_-]{1,64}")
CALL = record(
    {
        "id": filled,
        "type": one_of("function"),
        "function": record({"name": FUNCTION_NAME, "arguments": text}),
    }
)


def content(**kinds: Shape) -> Shape:
    """A string, or parts of these kinds."""
    return either(text, listed(tagged(kinds), least=1))


NAMED: Mapping[str, Shape] = {"name": filled}
ROLE: Mapping[str, Shape] = {"role": anything}
MESSAGE = tagged(
    {
        "system": record({**ROLE, "content": content(text=TEXT)}, NAMED),
        "developer": record({**ROLE, "content": content(text=TEXT)}, NAMED),
        "user": record(
            {**ROLE, "content": content(text=TEXT, image_url=IMAGE, input_audio=AUDIO, file=FILE)},
            NAMED,
        ),
        "assistant": record(
            ROLE,
            {
                **NAMED,
                "content": nullable(content(text=TEXT, refusal=REFUSAL)),
                "refusal": nullable(text),
                "tool_calls": listed(CALL, least=1),
                "reasoning_content": nullable(text),
            },
        ),
        "tool": record({**ROLE, "content": content(text=TEXT), "tool_call_id": filled}),
    },
    "role",
)
FUNCTION = record(
    {"name": FUNCTION_NAME},
    {"description": text, "parameters": of_object, "strict": nullable(truth)},
)
TOOL = record({"type": one_of("function"), "function": FUNCTION})
TOOL_CHOICE = either(
    one_of("none", "auto", "required"),
    record({"type": one_of("function"), "function": record({"name": FUNCTION_NAME})}),
)
JSON_SCHEMA = record(
    {"name": FUNCTION_NAME},
    {"description": text, "schema": mapping, "strict": nullable(truth)},
)
RESPONSE_FORMAT = tagged(
    {
        "text": record({"type": anything}),
        "json_object": record({"type": anything}),
        "json_schema": record({"type": anything, "json_schema": JSON_SCHEMA}),
    }
)
REQUEST = record(
    {"model": filled, "messages": listed(MESSAGE, least=1)},
    {
        "stream": nullable(truth),
        "stream_options": nullable(record({}, {"include_usage": truth})),
        "max_tokens": nullable(whole(1)),
        "max_completion_tokens": nullable(whole(1)),
        "temperature": nullable(number(0, 2)),
        "top_p": nullable(number(0, 1)),
        "frequency_penalty": nullable(number(-2, 2)),
        "presence_penalty": nullable(number(-2, 2)),
        "n": nullable(whole(1, 128)),
        "seed": nullable(whole()),
        "stop": nullable(either(filled, listed(filled, most=4))),
        "tools": listed(TOOL, least=1, most=128),
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": truth,
        "response_format": RESPONSE_FORMAT,
        "reasoning_effort": nullable(
            one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")
        ),
        "verbosity": nullable(one_of("low", "medium", "high")),
        "logprobs": nullable(truth),
        "top_logprobs": nullable(whole(0, 20)),
        "logit_bias": nullable(mapping),
        "metadata": nullable(mapping),
        "modalities": nullable(listed(one_of("text"))),
        "store": nullable(truth),
        "service_tier": nullable(one_of("auto", "default", "flex", "priority")),
        "user": text,
        "safety_identifier": nullable(text),
        "prompt_cache_key": nullable(text),
    },
)


def read(body: Json) -> Asked:
    """Check a request, and give what it asks. Raises Refused."""
    REQUEST(body, "")
    messages = items(body["messages"])
    _calls_are_answered(messages)
    _together(body)
    _output(body)
    return _asked(body, messages)


def _calls_are_answered(messages: Sequence[Json]) -> None:
    waiting: list[object] = []
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                raise Refused(
                    f"messages.[{place}].role",
                    "messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.",
                )
            waiting.remove(message["tool_call_id"])
            continue
        _none_waits(waiting)
        waiting = [each["id"] for each in items(message.get("tool_calls"))]
        if message["role"] == "assistant" and not (waiting or message.get("content")):
            raise Refused(
                f"messages.[{place}].content",
                "expected a string or 'tool_calls', got neither",
            )
    _none_waits(waiting)


def _none_waits(waiting: Sequence[object]) -> None:
    if waiting:
        raise Refused(
            "",
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            f"{', '.join(map(str, waiting))}",
        )


def _together(body: Json) -> None:
    """Parameters that need or exclude others."""
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and "tools" not in body:
            raise Refused(name, f"'{name}' is only allowed when 'tools' are specified.")
    if body.get("stream_options") is not None and body.get("stream") is not True:
        raise Refused("stream_options", "is only allowed when 'stream' is enabled.")
    if None not in (body.get("max_tokens"), body.get("max_completion_tokens")):
        raise Refused("", "Setting 'max_tokens' and 'max_completion_tokens' is not supported.")
    if body.get("top_logprobs") is not None and body.get("logprobs") is not True:
        raise Refused("top_logprobs", "is only allowed when 'logprobs' is enabled.")
    choice = part(part(body.get("tool_choice")).get("function")).get("name")
    names = [part(each["function"])["name"] for each in items(body.get("tools"))]
    if choice is not None and choice not in names:
        raise Refused("tool_choice", f"Tool choice '{choice}' not found in 'tools' parameter.")


def _output(body: Json) -> None:
    form = part(body.get("response_format"))
    if form.get("type") == "json_object" and "json" not in repr(body["messages"]).lower():
        raise Refused(
            "response_format",
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'.",
        )
    for tool in items(body.get("tools")):
        function = part(tool["function"])
        if function.get("strict") is True:
            all_required(function.get("parameters"), "tools.function.parameters")
    asked = part(form.get("json_schema"))
    if asked.get("strict") is True:
        all_required(asked.get("schema"), "response_format.json_schema.schema")


def _asked(body: Json, messages: Sequence[Json]) -> Asked:
    names = {
        call["id"]: str(part(call["function"])["name"])
        for message in messages
        for call in items(message.get("tool_calls"))
    }
    tools = {
        str(function["name"]): part(function.get("parameters", {}))
        for function in (part(each["function"]) for each in items(body.get("tools")))
    }
    choice = body.get("tool_choice")
    named = part(part(choice).get("function")).get("name")
    forced = next(iter(tools), None) if choice == "required" else named
    form = part(body.get("response_format"))
    users = [each for each in messages if each["role"] == "user"]
    turn = last_turn(messages, [each["role"] == "assistant" for each in messages])
    results = [each for each in turn if each["role"] == "tool"]
    stop = body.get("stop") or []
    return Asked(
        model=str(body["model"]),
        text=words(users[-1]["content"]) if users else "",
        system=" ".join(
            words(each["content"]) for each in messages if each["role"] in ("system", "developer")
        ),
        pictures=[
            found
            for message in turn
            for each in items(message["content"])
            if (found := _picture(each)) is not None
        ],
        tools={} if choice == "none" else tools,
        must_call=None if forced is None else str(forced),
        results=[(names[each["tool_call_id"]], words(each["content"])) for each in results],
        thinks=model.can_think(str(body["model"])) and body.get("reasoning_effort") != "none",
        schema=part(form["json_schema"]).get("schema") if "json_schema" in form else None,  # type: ignore[arg-type]
        as_json=form.get("type") == "json_object",
        stops=[stop] if isinstance(stop, str) else [str(each) for each in items(stop)],
    )


def last_turn(said: Sequence[Json], by_the_model: Sequence[bool]) -> Sequence[Json]:
    """What has been said since the model last spoke."""
    start = max((place for place, is_its in enumerate(by_the_model) if is_its), default=-1)
    return said[start + 1 :]


def _picture(told: Json) -> Picture | None:
    match told["type"]:
        case "image_url":
            return model.data_uri(part(told["image_url"])["url"], "messages.image_url")
        case "file":
            return model.data_uri(part(told["file"]).get("file_data"), "messages.file")
        case _:
            return None


def words(value: object) -> str:
    """The text of a message's content."""
    if isinstance(value, str):
        return value
    return "".join(str(each.get("text", "")) for each in items(value))


VENDOR = Vendor(
    name=NAME,
    family="gpt-5.1",
    prefix="/v1",
    path="/chat/completions",
    stream_type="text/event-stream; charset=utf-8",
    streams_unasked=False,
    overloaded=503,
    authorised=bearer,
    read=read,
    whole=told.whole,
    frames=told.frames,
    error=told.error,
    failure=told.failure,
    lookups={"/v1/models": told.models},
)
