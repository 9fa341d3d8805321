"""Reading a request far enough to route it, and splicing what must change."""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.wire import json, splice
from sidecar.wire.contract import Feature, Operation, RequestFacts, RequestLimits, RequestPatch
from sidecar.wire.facts import check_body, check_messages, check_model, check_stream
from sidecar.wire.signature import MARK

_MARK = MARK.encode()
_THOUGHTS = {"thinking": "signature", "redacted_thinking": "data"}  # type → where its proof stands


def facts(operation: Operation, body: object, limits: RequestLimits) -> RequestFacts:
    """What routing needs of a parsed body. Raises RequestRefused that names the field."""
    asked = check_body(body)
    model, stream = check_model(asked), check_stream(asked)
    check_messages("messages", asked.get("messages"), limits)
    return RequestFacts(
        operation=operation,
        model=model,
        stream=stream and operation is Operation.CHAT,
        wants_usage=True,  # its streams always carry it
    )


def patch(raw: bytes, wanted: RequestPatch) -> bytes:
    """The request with another model name and without thinking that the backend would refuse.

    Refused is a signature that the backend did not issue: one of the sidecar's, always, and any,
    once it has refused one. Every other byte stays as it was.
    """
    strips_all = Feature.SIGNED_THINKING in wanted.without
    strips = strips_all or _MARK in raw
    if wanted.model is None and not strips:
        return raw
    found = splice.members(raw)
    edits: list[splice.Edit] = []
    if wanted.model is not None:
        edits += splice.setting(raw, found, "model", json.dumps(wanted.model))
    if strips:
        edits += _without_thoughts(raw, found, strips_all)
    return splice.apply(raw, edits) if edits else raw


def _without_thoughts(
    raw: bytes, found: Sequence[splice.Member], strips_all: bool
) -> list[splice.Edit]:
    edits: list[splice.Edit] = []
    is_bare = False  # the last turn of the assistant calls tools without its thinking
    for one in found:
        if one.key != "messages":
            continue
        messages = splice.elements(raw, one.start)
        emptied = set()
        for place, message in enumerate(messages):
            told = json.loads(raw[message.start : message.end])
            if not isinstance(told, dict) or told.get("role") != "assistant":
                continue
            kept = _kept(told.get("content"), strips_all)
            # where all goes, the turn may have been bare from the start
            is_bare = (strips_all or kept.has_lost) and kept.calls and not kept.thinks
            if kept.has_lost and not kept.blocks:
                emptied.add(place)
            elif kept.has_lost:
                edits += _stripped(raw, message, strips_all)
        edits += splice.cuts(messages, emptied)
    if is_bare:
        edits += [
            splice.Edit(one.start, one.end, b'{"type":"disabled"}')
            for one in found
            if one.key == "thinking" and _has_budget(json.loads(raw[one.start : one.end]))
        ]
    return edits


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is left of a turn."""

    blocks: int = 0
    has_lost: bool = False
    calls: bool = False
    thinks: bool = False


def _kept(content: object, strips_all: bool) -> _Kept:
    if not isinstance(content, list):
        return _Kept()
    left = [block for block in content if not _is_unproven(block, strips_all)]
    kinds = [str(block.get("type")) for block in left if isinstance(block, dict)]
    return _Kept(
        blocks=len(left),
        has_lost=len(left) < len(content),
        calls="tool_use" in kinds,
        thinks=any(kind in _THOUGHTS for kind in kinds),
    )


def _stripped(raw: bytes, message: splice.Member, strips_all: bool) -> list[splice.Edit]:
    """The edits that take the thinking out of a turn."""
    edits: list[splice.Edit] = []
    for one in splice.members(raw, message.start):
        if one.key == "content" and raw[one.start : one.start + 1] == b"[":
            blocks = splice.elements(raw, one.start)
            told = [json.loads(raw[block.start : block.end]) for block in blocks]
            dropped = {at for at, block in enumerate(told) if _is_unproven(block, strips_all)}
            edits += splice.cuts(blocks, dropped)
    return edits


def _is_unproven(block: object, strips_all: bool) -> bool:
    """Whether a block is thinking whose proof the backend would refuse."""
    if not isinstance(block, dict):
        return False
    proof = _THOUGHTS.get(str(block.get("type")))
    return proof is not None and (strips_all or str(block.get(proof)).startswith(MARK))


def _has_budget(thinking: object) -> bool:
    """Whether the model is told to think in the way that asks for its thinking before its calls."""
    return isinstance(thinking, dict) and thinking.get("type") == "enabled"
