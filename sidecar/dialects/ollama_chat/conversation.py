"""The turns of a client's conversation into the neutral form.

A tool call needs no id here and its result may name only the tool, so ids are made up from where a
call stands: the same conversation gets the same ids each time it is sent. A result belongs to the
call of its `tool_call_id`, else to the first call of its `tool_name` that has none yet, else to the
next call in order, those of the last turn first.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.neutral.request import (
    Image,
    Inline,
    Loss,
    Message,
    Part,
    Role,
    Severity,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from sidecar.wire import json
from sidecar.wire.fields import Fields, refused
from sidecar.wire.picture import media_type

_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.DEVELOPER,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}
_ODD_IMAGE = (
    "An image is neither PNG, JPEG, GIF nor WebP, and other backends read nothing else. Send it as "
    "one of these, or ask for a model that an Ollama backend serves."
)
_NO_CALL = "unknown"  # the id of a call that nobody made


@dataclass(frozen=True, slots=True)
class _Open:
    """A call that has no result yet."""

    told_id: str | None  # the id that the client gave it
    call: ToolCall


def decode_messages(found: Sequence[Fields], losses: list[Loss]) -> tuple[Message, ...]:
    """The turns; what they hold that cannot cross goes to `losses`. Raises RequestRefused."""
    turns: list[Message] = []
    open_calls: list[_Open] = []
    taken: set[str] = set()  # ids of calls: one that comes twice would mix up their results
    for place, fields in enumerate(found):
        role = (fields.text("role") or "").lower()
        if role == "tool":
            turns.append(Message(Role.USER, (_result(fields, open_calls, losses),)))
            continue
        if role not in _ROLES:
            path = fields.place("role")
            told = "one of system, user, assistant and tool was expected"
            raise refused(f'`{path}` is "{role}"; {told}.', path)
        parts = [*_said(fields), *decode_images(fields, losses)]
        if role == "assistant" and (calls := _calls(fields, place, taken)):
            open_calls = calls + open_calls
            parts += [one.call for one in calls]
        turns.append(Message(_ROLES[role], tuple(parts)))
    return tuple(turns)


def _said(fields: Fields) -> list[Part]:
    thinking, content = fields.text("thinking"), fields.text("content")
    said: list[Part] = [Thinking(thinking)] if thinking else []
    return [*said, Text(content)] if content else said


def _calls(fields: Fields, place: int, taken: set[str]) -> list[_Open]:
    calls = []
    for number, told in enumerate(fields.objects("tool_calls")):
        function = told.object("function")
        if function is None:
            raise told.wrong("function", "an object")
        told_id = told.text("id")
        id = told_id if told_id and told_id not in taken else f"call_{place}_{number}"
        taken.add(id)
        call = ToolCall(id, function.needed_text("name"), _arguments(function))
        calls.append(_Open(told_id, call))
    return calls


def _arguments(function: Fields) -> str:
    told = function.raw("arguments")
    if isinstance(told, str):  # as the OpenAI dialect has it, which clients mix up
        return told
    return json.dumps(function.mapping("arguments") or {}).decode()


def _result(fields: Fields, open_calls: list[_Open], losses: list[Loss]) -> ToolResult:
    told_id, name = fields.text("tool_call_id"), fields.text("tool_name") or fields.text("name")
    found = _answered(told_id, name, open_calls)
    if found is not None:
        open_calls.remove(found)
    content = fields.text("content")
    return ToolResult(
        call_id=found.call.id if found else told_id or name or _NO_CALL,
        content=(*((Text(content),) if content else ()), *decode_images(fields, losses)),
        name=name or (found.call.name if found else None),
    )


def _answered(told_id: str | None, name: str | None, open_calls: list[_Open]) -> _Open | None:
    """The call that a result answers; an id counts where both sides have one."""
    for one in open_calls:
        if told_id and told_id in (one.told_id, one.call.id):
            return one
    for one in open_calls:
        if (not told_id or not one.told_id) and (not name or one.call.name == name):
            return one
    return None


def decode_images(fields: Fields, losses: list[Loss]) -> list[Image]:
    """The pictures beside a text, in base64. Raises RequestRefused where they are not."""
    images = []
    for place, told in enumerate(fields.items("images")):
        data = told.replace("\r", "").replace("\n", "") if isinstance(told, str) else ""
        content = _bytes(data)
        if not content:
            path = f"{fields.place('images')}[{place}]"
            raise refused(f"`{path}` is not base64; the bytes of an image were expected.", path)
        kind = media_type(content)
        if kind is None:
            losses.append(Loss("images", Severity.FATAL, _ODD_IMAGE))
            continue
        images.append(Image(Inline(kind, data)))
    return images


def _bytes(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return b""
