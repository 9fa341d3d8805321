"""OpenAI Responses, strictly: https://platform.openai.com/docs/api-reference/responses.

It keeps nothing: an earlier response, a conversation or an item that is only referred to is never
found, as with `store: false` at the vendor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.fakes.strict import model
from tests.fakes.strict import openai_responses_answers as told
from tests.fakes.strict.backend import Vendor, bearer
from tests.fakes.strict.model import Asked, Picture
from tests.fakes.strict.openai_chat import FUNCTION_NAME, content, last_turn, words
from tests.fakes.strict.openai_chat_answers import models
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

NAME = "openai-responses"

TYPED: Mapping[str, Shape] = {"type": anything}
STATUS: Mapping[str, Shape] = {"status": nullable(one_of("in_progress", "completed", "incomplete"))}
IN_TEXT = record({**TYPED, "text": text})
IN_IMAGE = record(
    TYPED,
    {
        "image_url": nullable(model.data_uri),
        "file_id": nullable(filled),
        "detail": nullable(one_of("auto", "low", "high", "original")),
    },
)
IN_FILE = record(
    TYPED,
    {
        **dict.fromkeys(("file_data", "file_url"), model.data_uri),
        **dict.fromkeys(("file_id", "filename"), filled),
    },
)
OUT_TEXT = record({**TYPED, "text": text}, {"annotations": listed(mapping), "logprobs": anything})
OUT_REFUSAL = record({**TYPED, "refusal": text})
HEARD = content(input_text=IN_TEXT, input_image=IN_IMAGE, input_file=IN_FILE)
PROMPT = record({"role": anything, "content": HEARD}, {**TYPED, **STATUS})
MESSAGE = tagged(
    {
        "user": PROMPT,
        "system": PROMPT,
        "developer": PROMPT,
        "assistant": record(
            {"role": anything, "content": content(output_text=OUT_TEXT, refusal=OUT_REFUSAL)},
            {
                **TYPED,
                **STATUS,
                "id": matching("msg_.*"),
                "phase": nullable(one_of("commentary", "final_answer")),
            },
        ),
    },
    "role",
)
ITEMS: Mapping[str, Shape] = {
    "message": MESSAGE,
    "function_call": record(
        {**TYPED, "call_id": filled, "name": FUNCTION_NAME, "arguments": text},
        {**STATUS, "id": nullable(matching("fc_.*")), "caller": nullable(mapping)},
    ),
    "function_call_output": record(
        {**TYPED, "call_id": filled, "output": HEARD}, {**STATUS, "id": nullable(text)}
    ),
    "reasoning": record(
        {**TYPED, "summary": listed(record({**TYPED, "text": text}))},
        {
            **STATUS,
            "id": matching(
                "rs_.*"
            ),  # said to be required, but the vendor's own Codex leaves it out
            "encrypted_content": nullable(filled),
            "content": nullable(listed(record({**TYPED, "text": text}))),
        },
    ),
}


def _item(value: object, at: str) -> None:
    kind = part(value).get("type", "message")
    if kind == "item_reference":
        raise Refused(at, f"Item with id '{part(value).get('id')}' not found.", 404)
    if kind not in ITEMS:
        raise Refused(f"{at}.type", f"Invalid value: '{kind}'.")
    ITEMS[str(kind)](value, at)


def _nothing_is_kept(value: object, at: str) -> None:
    if value is not None:
        raise Refused(at, f"'{value}' not found.", 404)


TOOL = record(
    {"type": one_of("function"), "name": FUNCTION_NAME},
    {
        "description": nullable(text),
        "parameters": nullable(of_object),
        "strict": nullable(truth),
    },
)
TOOL_CHOICE = either(
    one_of("none", "auto", "required"),
    record({"type": one_of("function"), "name": FUNCTION_NAME}),
)
FORMAT = tagged(
    {
        "text": record(TYPED),
        "json_object": record(TYPED),
        "json_schema": record(
            {**TYPED, "name": FUNCTION_NAME, "schema": mapping},
            {"description": text, "strict": nullable(truth)},
        ),
    }
)
REASONING = record(
    {},
    {
        "effort": nullable(one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")),
        "summary": nullable(one_of("auto", "concise", "detailed")),
    },
)
INCLUDABLE = one_of("reasoning.encrypted_content", "message.output_text.logprobs")
REQUEST = record(
    {"model": filled, "input": either(filled, listed(_item, least=1))},
    {
        "instructions": nullable(text),
        "stream": nullable(truth),
        "stream_options": nullable(record({}, {"include_obfuscation": truth})),
        "store": nullable(truth),
        "include": nullable(listed(INCLUDABLE)),
        "max_output_tokens": nullable(whole(16)),
        "temperature": nullable(number(0, 2)),
        "top_p": nullable(number(0, 1)),
        "top_logprobs": nullable(whole(0, 20)),
        "tools": listed(TOOL, most=128),
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": nullable(truth),
        "max_tool_calls": nullable(whole(1)),
        "text": record({}, {"format": FORMAT, "verbosity": nullable(text)}),
        "reasoning": nullable(REASONING),
        "truncation": nullable(one_of("auto", "disabled")),
        "metadata": nullable(mapping),
        "service_tier": nullable(one_of("auto", "default", "flex", "priority")),
        "user": text,
        "safety_identifier": nullable(text),
        "prompt_cache_key": nullable(text),
        "background": nullable(one_of(False)),
        "previous_response_id": _nothing_is_kept,
        "conversation": _nothing_is_kept,
    },
)


def read(body: Json) -> Asked:
    """Check a request, and give what it asks. Raises Refused."""
    REQUEST(body, "")
    given = body["input"]
    told_items = [{"role": "user", "content": given}] if isinstance(given, str) else items(given)
    _calls_are_answered(told_items)
    _reasoning(told_items)
    _together(body)
    return _asked(body, told_items)


def kind_of(item: Json) -> object:
    return item.get("type", "message")


def _calls_are_answered(told_items: Sequence[Json]) -> None:
    called: list[object] = []
    answered: list[object] = []
    for item in told_items:
        if kind_of(item) == "function_call":
            called.append(item["call_id"])
        elif kind_of(item) == "function_call_output":
            if item["call_id"] not in called:
                raise Refused(
                    "input",
                    f"No tool call found for function call output with call_id {item['call_id']}.",
                )
            answered.append(item["call_id"])
    if missing := [each for each in called if each not in answered]:
        raise Refused("input", f"No tool output found for function call {missing[0]}.")
    if len(set(called)) < len(called) or len(set(answered)) < len(answered):
        raise Refused("input", "Duplicate call_id.")


def _reasoning(told_items: Sequence[Json]) -> None:
    for place, item in enumerate(told_items):
        if kind_of(item) != "reasoning":
            continue
        if item.get("encrypted_content") is None:
            raise Refused(f"input[{place}]", f"Item with id '{item.get('id')}' not found.", 404)
        if item["encrypted_content"] != model.signature(NAME, model.THOUGHT):
            raise Refused(
                f"input[{place}]",
                f"The encrypted content for item {item.get('id')} could not be verified.",
            )
        after = told_items[place + 1] if place + 1 < len(told_items) else {}
        if after.get("role") != "assistant" and kind_of(after) not in (
            "function_call",
            "reasoning",
        ):
            raise Refused(
                f"input[{place}]",
                f"Item '{item.get('id')}' of type 'reasoning' was provided without its required "
                "following item.",
            )


def _together(body: Json) -> None:
    """Parameters that need others."""
    tools = items(body.get("tools"))
    choice = part(body.get("tool_choice")).get("name")
    if choice is not None and choice not in [each["name"] for each in tools]:
        raise Refused("tool_choice", f"Tool choice '{choice}' not found in 'tools' parameter.")
    if body.get("tool_choice") == "required" and not tools:
        raise Refused("tool_choice", "Tool choice 'required' must be specified with 'tools'.")
    if body.get("stream_options") is not None and body.get("stream") is not True:
        raise Refused("stream_options", "is only allowed when 'stream' is enabled.")
    for tool in tools:
        if tool.get("strict") is True:
            all_required(tool.get("parameters"), "tools.parameters")
    form = part(part(body.get("text")).get("format"))
    if form.get("strict") is True:
        all_required(form["schema"], "text.format.schema")
    told_words = f"{body['input']!r}{body.get('instructions')}".lower()
    if form.get("type") == "json_object" and "json" not in told_words:
        raise Refused(
            "text.format",
            "Response input messages must contain the word 'json' in some form to use "
            "'text.format' of type 'json_object'.",
        )


def _asked(body: Json, told_items: Sequence[Json]) -> Asked:
    names = {
        item["call_id"]: str(item["name"])
        for item in told_items
        if kind_of(item) == "function_call"
    }
    by_the_model = [
        item.get("role") == "assistant" or kind_of(item) in ("function_call", "reasoning")
        for item in told_items
    ]
    turn = last_turn(told_items, by_the_model)
    results = [item for item in turn if kind_of(item) == "function_call_output"]
    users = [item for item in told_items if item.get("role") == "user"]
    systems = [item for item in told_items if item.get("role") in ("system", "developer")]
    choice = body.get("tool_choice")
    tools = {str(each["name"]): part(each.get("parameters")) for each in items(body.get("tools"))}
    forced = next(iter(tools), None) if choice == "required" else part(choice).get("name")
    form = part(part(body.get("text")).get("format"))
    last = users[-1]["content"] if users else ""
    return Asked(
        model=str(body["model"]),
        text=words(last),
        system=" ".join(
            [str(body.get("instructions") or ""), *[words(each["content"]) for each in systems]]
        ).strip(),
        pictures=[
            found
            for item in turn
            for each in items(item.get("content", item.get("output")))
            if (found := _picture(each)) is not None
        ],
        tools={} if choice == "none" else tools,
        must_call=None if forced is None else str(forced),
        results=[(names[each["call_id"]], words(each["output"])) for each in results],
        thinks=model.can_think(str(body["model"]))
        and part(body.get("reasoning")).get("effort") != "none",
        schema=part(form.get("schema")) if form.get("type") == "json_schema" else None,
        as_json=form.get("type") == "json_object",
    )


def _picture(told: Json) -> Picture | None:
    match told["type"]:
        case "input_image":
            return model.data_uri(told.get("image_url"), "input.image_url")
        case "input_file":
            if "file_url" in told:
                return Picture("document", None)
            return model.data_uri(told.get("file_data"), "input.file_data")
        case _:
            return None


VENDOR = Vendor(
    name=NAME,
    family="gpt-5.1",
    prefix="/v1",
    path="/responses",
    stream_type="text/event-stream; charset=utf-8",
    streams_unasked=False,
    overloaded=503,
    authorised=bearer,
    read=read,
    whole=told.whole,
    frames=told.frames,
    error=told.error,
    failure=told.failure,
    lookups={"/v1/models": models},
)
