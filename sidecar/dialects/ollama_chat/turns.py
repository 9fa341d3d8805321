"""The turns of a neutral conversation as messages of /api/chat."""

from collections.abc import Iterable, Sequence

from sidecar.neutral.request import (
    Document,
    Image,
    Inline,
    Loss,
    Message,
    Opaque,
    Part,
    Refusal,
    Remote,
    Role,
    Severity,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from sidecar.neutral.turns import NOTHING_SAID, prompt_first, regrouped
from sidecar.wire.arguments import as_object
from sidecar.wire.inline import decoded
from sidecar.wire.json import Json

_REMOTE_IMAGE = (
    "An image is given by its address, and Ollama fetches none. Send its bytes in base64, or set "
    "`fetch_images: true` so that the sidecar fetches it."
)
_REMOTE_DOCUMENT = (
    "A document is given by its address, and Ollama fetches none. Send its text instead."
)
_BINARY_DOCUMENT = (
    "A document is not plain text, and Ollama reads no other. Send its text or its pages as images."
)
_IMAGES_BELOW = "[image: see the next message]"
_IMAGES_ABOVE = "The images of the tool results above:"


def encode_turns(
    messages: Sequence[Message], asks: Sequence[str], losses: list[Loss]
) -> Sequence[Json]:
    """The messages; what cannot be among them goes to `losses`.

    A turn of which nothing is left is left out. `asks` are put at the end of the system prompt.
    """
    told: list[dict[str, object]] = []
    written: list[dict[str, object]] = []
    names: dict[str, str] = {}  # id of a call → its tool
    for message in regrouped(prompt_first(messages)):
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        names |= {call.id: call.name for call in calls}
        match message.role:
            case Role.SYSTEM | Role.DEVELOPER:
                prompt = "\n\n".join(_text([part], losses) for part in message.parts)
                written = [{"role": "system", "content": prompt}]
            case Role.ASSISTANT:
                written = _assistant(message.parts, calls, losses)
            case Role.USER:
                written = _user(message.parts, names, losses)
        told += written
    if messages and not written and (not told or told[-1]["role"] not in ("user", "tool")):
        told.append({"role": "user", "content": NOTHING_SAID})
    if asks and told:
        _ask("\n\n".join(asks), told)
    return told


def _ask(words: str, told: list[dict[str, object]]) -> None:
    if told[0]["role"] == "system":
        told[0]["content"] = f"{told[0]['content']}\n\n{words}"
    else:
        told.insert(0, {"role": "system", "content": words})


def _user(
    parts: Sequence[Part], names: dict[str, str], losses: list[Loss]
) -> list[dict[str, object]]:
    """The results of tools, each a message, and behind them what the user says."""
    results = [part for part in parts if isinstance(part, ToolResult)]
    said = [part for part in parts if not isinstance(part, ToolResult)]
    told = [_result(result, names, losses) for result in results]
    shown = _images((part for result in results for part in result.content), losses)
    if shown:
        told.append({"role": "user", "content": _IMAGES_ABOVE, "images": shown})
    message = _message("user", said, losses)
    is_said = message["content"] or "images" in message
    if is_said or not parts or any(isinstance(part, Text) for part in said):
        told.append(message)
    return told


def _result(result: ToolResult, names: dict[str, str], losses: list[Loss]) -> dict[str, object]:
    text = _text(result.content, losses)
    if any(isinstance(part, Image) for part in result.content):
        text = f"{text}\n{_IMAGES_BELOW}" if text else _IMAGES_BELOW
    return {
        "role": "tool",
        "content": f"Error: {text}" if result.is_error else text,
        "tool_name": names[result.call_id],  # `regrouped` leaves no result without its call
        "tool_call_id": result.call_id,
    }


def _assistant(
    parts: Sequence[Part], calls: Sequence[ToolCall], losses: list[Loss]
) -> list[dict[str, object]]:
    told = _message("assistant", parts, losses)
    thoughts = [part for part in parts if isinstance(part, Thinking)]
    if thinking := "".join(part.text for part in thoughts):
        told["thinking"] = thinking
    if any(part.redacted for part in thoughts):
        losses.append(Loss("thinking", Severity.COSMETIC))
    if calls:
        told["tool_calls"] = [
            {"id": call.id, "function": {"name": call.name, "arguments": as_object(call.arguments)}}
            for call in calls
        ]
    return [told] if told["content"] or told.keys() > {"role", "content"} else []


def _message(role: str, parts: Sequence[Part], losses: list[Loss]) -> dict[str, object]:
    told: dict[str, object] = {"role": role, "content": _text(parts, losses)}
    if images := _images(parts, losses):
        told["images"] = images
    return told


def _images(parts: Iterable[Part], losses: list[Loss]) -> list[str]:
    found = []
    for part in parts:
        match part:
            case Image(source=Inline(_, data)):
                found.append(data)
            case Image(source=Remote()):
                losses.append(Loss("images", Severity.FATAL, _REMOTE_IMAGE))
            case _:
                pass
    return found


def _text(parts: Iterable[Part], losses: list[Loss]) -> str:
    """What is said in words; the rest of the parts have fields of their own."""
    texts = []
    for part in parts:
        match part:
            case Text(text) | Refusal(text):
                texts.append(text)
            case Document():
                texts += _document(part, losses)
            case Opaque(kind=kind):
                losses.append(Loss(kind, Severity.SEMANTIC))
            case Image() | Thinking() | ToolCall() | ToolResult():
                pass
    return "\n".join(texts)


def _document(document: Document, losses: list[Loss]) -> list[str]:
    source = document.source
    if isinstance(source, Remote):
        losses.append(Loss("documents", Severity.FATAL, _REMOTE_DOCUMENT))
        return []
    text = source if isinstance(source, str) else decoded(source)
    if text is None:
        losses.append(Loss("documents", Severity.FATAL, _BINARY_DOCUMENT))
        return []
    return [f"{document.name}:\n{text}" if document.name else text]
