"""The two crossings between whole and streamed answers that stay within the dialect.

They lose nothing: unknown fields, log probabilities and further choices are carried over.
"""

from collections.abc import Sequence

from sidecar.dialects.openai_chat.mend import Mender, place_of
from sidecar.dialects.openai_chat.tap import DONE_FRAME
from sidecar.wire import json
from sidecar.wire.contract import Operation, RequestFacts
from sidecar.wire.framing import frame_data, sse
from sidecar.wire.json import Json

_NAMES = ("role", "id", "type", "name", "object", "model", "format")  # said once, if repeated too


def unfold(answer: Json, facts: RequestFacts) -> Sequence[bytes]:
    """The frames of a stream that says what a whole answer says."""
    head = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    if facts.operation is Operation.CHAT:
        head["object"] = "chat.completion.chunk"
    choices = answer["choices"]
    assert isinstance(choices, list)  # `judge` has seen it
    chunks: list[Json] = []
    ends: list[Json] = []  # behind all contents: an answer is not whole before its last choice
    for place, choice in enumerate(choices):
        content = {name: value for name, value in choice.items() if name != "message"}
        end: dict[str, object] = {"index": content.setdefault("index", place)}
        if facts.operation is Operation.CHAT:
            message = choice.get("message")
            content["delta"] = _as_delta(message) if isinstance(message, dict) else {}
            end["delta"] = {}
        else:
            end["text"] = ""
        # a body that is whole is a complete answer; a stream has no other way to say so
        end["finish_reason"] = choice.get("finish_reason") or "stop"
        chunks.append({**head, "choices": [{**content, "finish_reason": None}]})
        ends.append({**head, "choices": [end]})
    chunks += ends
    if facts.wants_usage and answer.get("usage") is not None:
        chunks.append({**head, "choices": [], "usage": answer["usage"]})
    return [sse(json.dumps(chunk)) for chunk in chunks] + [DONE_FRAME]


def _as_delta(message: Json) -> Json:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    told = [call for call in calls if isinstance(call, dict)]
    return {**message, "tool_calls": [{"index": place, **call} for place, call in enumerate(told)]}


def fold(frames: Sequence[bytes]) -> Json:
    """The whole answer that the frames of a finished stream add up to."""
    answer: dict[str, object] = {}
    choices: dict[int, dict[str, object]] = {}
    mender = Mender()
    for frame in frames:
        chunk = json.loads_object(frame_data(frame) or b"")
        if chunk is None:
            continue  # the end marker, a comment, or what the tap has counted as junk
        told = dict(mender.mended(chunk))
        parts = told.pop("choices")
        for part in parts if isinstance(parts, list) else ():
            place = place_of(part)
            _add(choices.setdefault(place, {}), {**part, "index": place})
        answer.update({name: value for name, value in told.items() if value is not None})
    whole = [choices[place] for place in sorted(choices)]
    for choice in whole:
        if isinstance(delta := choice.pop("delta", None), dict):
            choice["message"] = _as_message(delta)
    if answer.get("object") == "chat.completion.chunk":
        answer["object"] = "chat.completion"
    return {**answer, "choices": whole}


def _as_message(delta: Json) -> Json:
    message = {"role": "assistant", "content": None, **delta}
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [
            {name: value for name, value in call.items() if name != "index"}
            for call in calls
            if isinstance(call, dict)
        ]
    return message


def _add(into: dict[str, object], more: Json) -> None:
    """Add one delta: texts are joined, lists of indexed parts merged, the rest replaced."""
    for name, value in more.items():
        held = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif isinstance(value, dict):
            part = held if isinstance(held, dict) else {}
            _add(part, value)
            into[name] = part
        elif isinstance(value, list):
            into[name] = _joined(held if isinstance(held, list) else [], value)
        elif isinstance(value, str) and isinstance(held, str) and name not in _NAMES:
            # `finish_reason`, and what vendors put beside it, is said again, not in pieces
            into[name] = value if name.endswith("_reason") else held + value
        elif not (name in _NAMES and held):
            into[name] = value


def _joined(held: list[object], more: list[object]) -> list[object]:
    for item in more:
        if not isinstance(item, dict) or "index" not in item:
            held.append(item)
            continue
        known = [one for one in held if isinstance(one, dict) and one.get("index") == item["index"]]
        if not known:
            known = [{}]
            held += known
        _add(known[-1], item)
    return held
