"""Reading a request far enough to route it, and splicing what must change."""

from collections.abc import Iterator, Sequence

from sidecar.wire import json, splice
from sidecar.wire.contract import Feature, Operation, RequestFacts, RequestLimits, RequestPatch
from sidecar.wire.facts import check_body, check_messages, check_model, check_stream
from sidecar.wire.fields import refused
from sidecar.wire.json import Json
from sidecar.wire.signature import MARK

_ASK = b'"include_usage":true'
_MARK = MARK.encode()
_THOUGHTS = {"reasoning_content", "reasoning", "reasoning_details", "thinking_blocks"}


def facts(operation: Operation, body: object, limits: RequestLimits) -> RequestFacts:
    """What routing needs of a parsed body. Raises RequestRefused that names the field."""
    asked = check_body(body)
    model, stream = check_model(asked), check_stream(asked)
    if operation is Operation.CHAT:
        check_messages("messages", asked.get("messages"), limits)
    if operation is Operation.EMBED and asked.get("input") in (None, "", []):
        raise refused(
            "`input` is missing or empty; a text or a list of texts was expected.",
            "input",
            "empty_input",
        )
    options = asked.get("stream_options")
    return RequestFacts(
        operation=operation,
        model=model,
        stream=stream and operation is not Operation.EMBED,
        choices=_choices(asked),
        wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
        old_calls=bool(asked.get("functions")) and not asked.get("tools"),
    )


def _choices(body: Json) -> int:
    """How many answers are asked for: `n` of them for each prompt."""
    count, prompts = body.get("n"), body.get("prompt")
    texts = 1
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
        texts = len(prompts)  # a list of numbers is one prompt, in tokens
    return max(1, count if isinstance(count, int) else 1) * texts


def patch(raw: bytes, wanted: RequestPatch) -> bytes:
    """The request with another model name, or asking for usage; every other byte as it was.

    Messages lose the thinking that another vendor signed, and all of it once a backend has refused
    one: many take no such field.
    """
    asks_usage = wanted.ask_usage and Feature.USAGE_IN_STREAM not in wanted.without
    strips_all = Feature.SIGNED_THINKING in wanted.without
    strips = strips_all or _MARK in raw
    if wanted.model is None and not asks_usage and not strips:
        return raw
    found = splice.members(raw)
    edits: list[splice.Edit] = []
    missing: list[bytes] = []
    if wanted.model is not None:
        name = json.dumps(wanted.model)
        spans = [one for one in found if one.key == "model"]
        edits += [splice.Edit(one.start, one.end, name) for one in spans]
        if not spans:
            missing.append(b'"model":' + name)
    if asks_usage:
        options = [one for one in found if one.key == "stream_options"]
        for one in options:
            edits += _asking(raw, one)
        if not options:
            missing.append(b'"stream_options":{' + _ASK + b"}")
    if missing:
        edits.append(splice.insertion(raw, b",".join(missing)))
    if strips:
        edits += _without_thoughts(raw, found, strips_all)
    return splice.apply(raw, edits)


def _without_thoughts(
    raw: bytes, found: Sequence[splice.Member], strips_all: bool
) -> Iterator[splice.Edit]:
    for one in found:
        if one.key != "messages" or raw[one.start : one.start + 1] != b"[":
            continue
        for message in splice.elements(raw, one.start):
            text = raw[message.start : message.end]
            told = json.loads(text)
            if isinstance(told, dict) and told.keys() & _THOUGHTS and (strips_all or _MARK in text):
                kept = {name: value for name, value in told.items() if name not in _THOUGHTS}
                yield splice.Edit(message.start, message.end, json.dumps(kept))


def _asking(raw: bytes, options: splice.Member) -> list[splice.Edit]:
    """The edits that make an existing `stream_options` ask for usage."""
    if raw[options.start : options.start + 1] != b"{":
        return [splice.Edit(options.start, options.end, b"{" + _ASK + b"}")]
    told = [one for one in splice.members(raw, options.start) if one.key == "include_usage"]
    edits = [splice.Edit(one.start, one.end, b"true") for one in told]
    return edits or [splice.insertion(raw, _ASK, options.start)]
