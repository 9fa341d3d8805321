"""Reading a request far enough to route it, and splicing what must change."""

from sidecar.wire import json, splice
from sidecar.wire.contract import Feature, Operation, RequestFacts, RequestLimits, RequestPatch
from sidecar.wire.facts import (
    check_body,
    check_messages,
    check_model,
    check_stream,
    size_of,
    too_large,
)
from sidecar.wire.json import Json


def facts(operation: Operation, body: object, limits: RequestLimits) -> RequestFacts:
    """What routing needs of a parsed body. Raises RequestRefused that names the field.

    No messages, or an empty prompt, are legal: they ask that the model be loaded. A stream is what
    a client gets that says nothing about it.
    """
    body = check_body(body)
    model = check_model(body)
    streams = operation in (Operation.CHAT, Operation.COMPLETION)
    if operation is Operation.CHAT and body.get("messages") not in (None, []):
        check_messages("messages", body.get("messages"), limits)
    if operation is Operation.COMPLETION:
        _check_prompt(body, limits)
    if operation is Operation.SHOW:
        model = model or check_model(body, "name")  # so older clients say it
    return RequestFacts(
        operation=operation,
        model=model,
        stream=streams and check_stream(body, default=True),
        wants_usage=True,
    )


def _check_prompt(body: Json, limits: RequestLimits) -> None:
    if size_of([body.get("system"), body.get("prompt")]) > limits.content:
        told = f"`prompt` and `system` are larger than {limits.content} bytes. Shorten the text."
        raise too_large(told, "prompt")


def patch(raw: bytes, wanted: RequestPatch) -> bytes:
    """The request with another model name, or without the wish to think; every other byte as it
    was."""
    if wanted.model is None and Feature.THINKING not in wanted.without:
        return raw
    found = splice.members(raw)
    edits: list[splice.Edit] = []
    if wanted.model is not None:
        edits += splice.setting(raw, found, "model", json.dumps(wanted.model))
    if Feature.THINKING in wanted.without:
        # null is the same as nothing said, and needs no comma moved
        edits += [splice.Edit(one.start, one.end, b"null") for one in found if one.key == "think"]
    return splice.apply(raw, edits)
