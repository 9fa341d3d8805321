"""Streams and whole answers into each other, within the dialect.

Both ways lose nothing: signed thinking, citations and the blocks of the vendor's own tools are
carried over as they are.
"""

from collections.abc import Iterable, Mapping, Sequence

from sidecar.dialects.anthropic_messages.encoder import event
from sidecar.wire import json
from sidecar.wire.arguments import as_object
from sidecar.wire.contract import RequestFacts
from sidecar.wire.framing import frame_data
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in

_AT_THE_END = ("stop_reason", "stop_sequence", "stop_details", "container")
_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
_EMPTY = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
_PIECES = "partial_json"  # of the input of a call
_OPEN = "\0"  # where they are gathered; no block has a member of that name

Block = dict[str, object]


def unfold(answer: Json, facts: RequestFacts) -> Sequence[bytes]:
    """The frames of a stream that says what a whole answer says."""
    content = answer.get("content")
    blocks = content if isinstance(content, list) else []
    usage = answer.get("usage")
    message = {name: value for name, value in answer.items() if name not in _AT_THE_END}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None}
    # a body that is whole is a complete answer; a stream has no other way to say so
    delta: Block = {"stop_reason": "end_turn", "stop_sequence": None}
    delta |= {name: answer[name] for name in _AT_THE_END if answer.get(name) is not None}
    usage = usage if isinstance(usage, Mapping) else {"input_tokens": 0, "output_tokens": 0}
    frames = [event("message_start", message={**message, "usage": usage})]
    for index, block in enumerate(blocks):
        frames += _unfolded(index, block)
    frames.append(event("message_delta", delta=delta, usage=usage))
    return [*frames, event("message_stop")]


def _unfolded(index: int, block: Json) -> Iterable[bytes]:
    start, deltas = dict(block), list[Json]()
    match block.get("type"):
        case "text":
            start["text"] = ""
            deltas.append({"type": "text_delta", "text": block.get("text") or ""})
            citations = block.get("citations")
            if isinstance(citations, list) and citations:
                start["citations"] = []
                deltas += [{"type": "citations_delta", "citation": one} for one in citations]
        case "thinking":
            start |= {"thinking": "", "signature": ""}
            deltas.append({"type": "thinking_delta", "thinking": block.get("thinking") or ""})
            if signature := block.get("signature"):
                deltas.append({"type": "signature_delta", "signature": signature})
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            if block.get("input"):
                start["input"] = {}
                told = json.dumps(block["input"]).decode()
                deltas.append({"type": "input_json_delta", "partial_json": told})
        case _:
            pass
    yield event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield event("content_block_delta", index=index, delta=delta)
    yield event("content_block_stop", index=index)


def fold(frames: Sequence[bytes]) -> Json:
    """The whole answer that the frames of a finished stream add up to."""
    answer: Block = {"type": "message", "role": "assistant"}
    usage: Block = {}
    blocks: dict[int, Block] = {}
    for frame in frames:
        told = json.loads_object(frame_data(frame) or b"") or {}  # the tap has counted junk
        match told.get("type"):
            case "message_start":
                answer |= object_in(told, "message")
                usage |= _told(answer.get("usage"))
            case "content_block_start":
                blocks[_index(told)] = dict(object_in(told, "content_block"))
            case "content_block_delta":
                _add(blocks.setdefault(_index(told), {}), told.get("delta"))
            case "message_delta":
                answer |= _end(told)
                usage |= _told(told.get("usage"))
            case _:
                pass
    content = [_complete(blocks[index]) for index in sorted(blocks)]
    return {**answer, "content": content, "usage": usage}


def _index(told: Json) -> int:
    index = told.get("index")
    return index if isinstance(index, int) else 0


def _end(told: Json) -> Json:
    """What the last event adds to the message: its delta, and what stands beside that."""
    beside = {name: told[name] for name in told if name not in ("type", "delta", "usage")}
    return {**_told(beside), **_told(told.get("delta"))}


def _told(members: object) -> Json:
    """The members that say something; null leaves what was said before."""
    if not isinstance(members, Mapping):
        return {}
    return {name: value for name, value in members.items() if value is not None}


def _add(block: Block, delta: object) -> None:
    if not isinstance(delta, dict):
        return
    kind = delta.get("type")
    if isinstance(kind, str) and (name := _TEXTS.get(kind)):
        block.setdefault("type", "text" if name == "text" else "thinking")
        block[name] = f"{block.get(name) or ''}{delta.get(name) or ''}"
    elif kind == "input_json_delta":
        block[_OPEN] = f"{block.get(_OPEN) or ''}{delta.get(_PIECES) or ''}"
    elif kind == "citations_delta":
        known = block.get("citations")
        block["citations"] = [*(known if isinstance(known, list) else []), delta.get("citation")]


def _complete(block: Block) -> Json:
    pieces = block.pop(_OPEN, "")
    if isinstance(pieces, str) and pieces:
        block["input"] = as_object(pieces)
    empty = _EMPTY.get(str(block.get("type")), {})
    return {**empty, **block}
