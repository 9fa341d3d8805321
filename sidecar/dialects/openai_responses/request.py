"""Reading a request far enough to route it, and splicing what must change."""

from collections.abc import Sequence

from sidecar.dialects.openai_responses.items import ENCRYPTED
from sidecar.wire import json, splice
from sidecar.wire.contract import Feature, Operation, RequestFacts, RequestLimits, RequestPatch
from sidecar.wire.facts import check_body, check_model, check_stream, size_of, too_large
from sidecar.wire.fields import kind, refused
from sidecar.wire.json import Json
from sidecar.wire.signature import MARK

_STORED = ("previous_response_id", "conversation", "prompt")  # may hold what `input` leaves out
_MARK = MARK.encode()
_PAIRED = ("message", "function_call", "custom_tool_call")  # with the reasoning before them


def facts(operation: Operation, body: object, limits: RequestLimits) -> RequestFacts:
    """What routing needs of a parsed body. Raises RequestRefused that names the field."""
    told = check_body(body)
    model, stream = check_model(told), check_stream(told)
    _check_input(told, limits)
    is_streamed = stream and operation is Operation.CHAT
    return RequestFacts(operation, model, is_streamed, wants_usage=True)


def _check_input(body: Json, limits: RequestLimits) -> None:
    given = body.get("input")
    if given in (None, "", []):
        if any(body.get(name) for name in _STORED):
            return
        told = "`input` is missing or empty; a text or a list of items was expected."
        raise refused(told, "input", "empty_input")
    if isinstance(given, str):
        given = [{"content": given}]
    elif not isinstance(given, list):
        told = f"`input` is {kind(given)}; a text or a list of items was expected."
        raise refused(told, "input", "invalid_input")
    for place, item in enumerate(given):
        if not isinstance(item, dict):
            told = f"`input[{place}]` is {kind(item)}; an item was expected."
            raise refused(told, f"input[{place}]", "invalid_input")
    messages = sum(map(_is_message, given))
    if messages > limits.messages:
        raise refused(
            f"`input` holds {messages} messages; at most {limits.messages} are taken. "
            "Drop or summarise the oldest ones.",
            "input",
            "too_many_messages",
        )
    _check_size(given, limits)


def _is_message(item: Json) -> bool:
    """Not so are reasoning, calls and their results, of which one turn can have hundreds."""
    return (item.get("type") or "message") == "message"


def _check_size(items: Sequence[object], limits: RequestLimits) -> None:
    size = 0
    for place, item in enumerate(items):
        size += size_of(item)
        if size > limits.content:
            raise too_large(
                f"The items of `input` are larger than {limits.content} bytes (passed at "
                f"input[{place}]). Shorten the history or send smaller attachments.",
                f"input[{place}]",
            )


# --- splicing -------------------------------------------------------------------------------------


def patch(raw: bytes, wanted: RequestPatch) -> bytes:
    """The request with another model name, and without reasoning that its backend cannot read.

    That is what the sidecar has marked as another dialect's, and on demand all that is encrypted.
    """
    is_marked = _MARK in raw
    if wanted.model is None and not wanted.without and not is_marked:
        return raw
    found = splice.members(raw)
    edits: list[splice.Edit] = []
    if wanted.model is not None:
        edits += splice.setting(raw, found, "model", json.dumps(wanted.model))
    strips_all = Feature.SIGNED_THINKING in wanted.without
    for one in found:
        if one.key == "input" and (is_marked or strips_all):
            edits += _readable(raw, one, strips_all)
        elif Feature.THINKING in wanted.without and one.key == "reasoning":
            edits.append(splice.Edit(one.start, one.end, b"null"))
        elif Feature.THINKING in wanted.without and one.key == "include":
            edits.append(
                splice.Edit(one.start, one.end, _without_encrypted(raw[one.start : one.end]))
            )
    return splice.apply(raw, edits)


def _without_encrypted(include: bytes) -> bytes:
    told = json.loads(include)
    if not isinstance(told, list) or ENCRYPTED not in told:
        return include
    return json.dumps([one for one in told if one != ENCRYPTED])


def _readable(raw: bytes, given: splice.Member, strips_all: bool) -> list[splice.Edit]:
    """The edits that leave only reasoning that the backend can read: none, or what is not marked.

    The backend keeps in mind which reasoning belonged to an item with an id and refuses the one
    without the other, so with the reasoning go the ids of the items.
    """
    if raw[given.start : given.start + 1] != b"[":
        return []
    found = splice.elements(raw, given.start)
    items = [json.loads(raw[one.start : one.end]) for one in found]
    dropped = {place for place, item in enumerate(items) if _is_unreadable(item, strips_all)}
    if not dropped:
        return []
    named = [
        splice.Edit(one.start, one.end, json.dumps(_nameless(item)))
        for place, (one, item) in enumerate(zip(found, items, strict=True))
        if place not in dropped and _has_name(item)
    ]
    return [*splice.cuts(found, dropped), *named]


def _is_unreadable(item: object, strips_all: bool) -> bool:
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    told = item.get("encrypted_content")
    return strips_all or (isinstance(told, str) and told.startswith(MARK))


def _has_name(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") in _PAIRED and "id" in item


def _nameless(item: Json) -> Json:
    return {name: value for name, value in item.items() if name != "id"}
