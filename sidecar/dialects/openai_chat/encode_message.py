"""Neutral messages → the messages of a request for a backend."""

import base64
from collections.abc import Iterable, Sequence

from sidecar.dialects.openai_chat.reasoning import DIALECT, details
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
from sidecar.neutral.turns import regrouped
from sidecar.wire.contract import Feature, Target
from sidecar.wire.json import Json
from sidecar.wire.signature import is_signed_by

_PDF = "application/pdf"
_REMOTE = "This backend reads no document by its address; send the document itself, in base64."
_UNREADABLE = "This backend reads documents as PDF or text; convert the one of the type {kind!r}."
_SHOWN = "[shown in the next message]"  # stands in a tool's result for what only a user can show


class Messages:
    """Writes messages for one target; `losses` is what they could not carry."""

    def __init__(self, target: Target) -> None:
        self.losses: dict[str, Loss] = {}
        self._reasoning = target.traits.reasoning
        self._signs = Feature.SIGNED_THINKING not in target.without

    def write(self, messages: Sequence[Message]) -> list[Json]:
        """All messages, with the results of tools right behind their calls."""
        told: list[Json] = []
        for message in regrouped(messages):
            match message.role:
                case Role.SYSTEM | Role.DEVELOPER:
                    told.append({"role": "system", "content": self._system(message.parts)})
                case Role.USER:
                    told += self._user(message.parts)
                case Role.ASSISTANT:
                    told.append(self._assistant(message.parts))
        if told and told[-1]["role"] == "assistant":
            self.lose("prefill", Severity.SEMANTIC)
        return told

    def lose(self, field: str, severity: Severity, reason: str = "") -> None:
        """Note what cannot be carried, once."""
        self.losses.setdefault(field, Loss(field, severity, reason))

    def _system(self, parts: Iterable[Part]) -> str:
        written = [self._content(part) for part in parts]
        return "\n".join(str(one["text"]) for one in written if one and one.get("type") == "text")

    # --- users and tools --------------------------------------------------------------------------

    def _user(self, parts: Sequence[Part]) -> list[Json]:
        results = [part for part in parts if isinstance(part, ToolResult)]
        shown: list[Json] = []
        told = [self._result(result, shown) for result in results]
        said = [self._content(part) for part in parts if not isinstance(part, ToolResult)]
        content = [*shown, *(one for one in said if one is not None)]
        if content or not results:
            told.append({"role": "user", "content": _compact(content)})
        return told

    def _result(self, result: ToolResult, shown: list[Json]) -> Json:
        """The message of a tool, which holds text alone; `shown` takes the rest."""
        if result.cache is not None:
            self.lose("cache_control", Severity.COSMETIC)
        texts: list[str] = []
        for part in result.content:
            written = self._content(part)
            if written is None:
                continue
            if written.get("type") == "text":
                texts.append(str(written["text"]))
            else:
                texts.append(_SHOWN)
                shown.append(written)
        text = ("Error: " if result.is_error else "") + "\n".join(texts)
        return {"role": "tool", "tool_call_id": result.call_id, "content": text}

    def _content(self, part: Part) -> Json | None:
        if isinstance(part, Text | Image | Document) and part.cache is not None:
            self.lose("cache_control", Severity.COSMETIC)
        match part:
            case Text() | Refusal():
                return {"type": "text", "text": part.text}
            case Image():
                return _image(part)
            case Document():
                return self._document(part)
            case Opaque():
                return self._opaque(part)
            case Thinking():
                self.lose("thinking", Severity.COSMETIC)
            case ToolCall() | ToolResult():
                pass  # they have messages of their own
        return None

    def _document(self, part: Document) -> Json | None:
        source = part.source
        if isinstance(source, Inline) and source.media_type.startswith("text/"):
            source = _decoded(source) or source
        match source:
            case str(text):
                return {"type": "text", "text": f"{part.name}\n\n{text}" if part.name else text}
            case Inline(media_type, data) if media_type == _PDF:
                name = part.name or "document.pdf"
                uri = f"data:{media_type};base64,{data}"
                return {"type": "file", "file": {"filename": name, "file_data": uri}}
            case Inline(media_type):
                self.lose("documents", Severity.FATAL, _UNREADABLE.format(kind=media_type))
            case Remote():
                self.lose("documents", Severity.FATAL, _REMOTE)
        return None

    def _opaque(self, part: Opaque) -> Json | None:
        if part.dialect == DIALECT:
            return part.raw
        self.lose(part.kind, Severity.SEMANTIC)
        return None

    # --- the assistant ----------------------------------------------------------------------------

    def _assistant(self, parts: Sequence[Part]) -> Json:
        calls = [part for part in parts if isinstance(part, ToolCall)]
        thoughts = [part for part in parts if isinstance(part, Thinking)]
        texts: list[str] = []
        for part in parts:
            if not isinstance(part, Thinking | ToolCall) and (written := self._content(part)):
                if written.get("type") == "text":
                    texts.append(str(written["text"]))
                else:
                    self.lose("images", Severity.SEMANTIC)  # an answer can be given back as text
        text = "".join(texts)
        told: dict[str, object] = {"role": "assistant", "content": text or (None if calls else "")}
        self._think(told, thoughts)
        if any(call.cache is not None for call in calls):
            self.lose("cache_control", Severity.COSMETIC)
        if calls:
            told["tool_calls"] = [_call(call) for call in calls]
        return told

    def _think(self, told: dict[str, object], thoughts: Sequence[Thinking]) -> None:
        own = [part for part in thoughts if self._signs and is_signed_by(part, DIALECT)]
        text = "".join(part.text for part in thoughts)
        if own:
            told["reasoning_details"] = details(own)
        if self._reasoning is not None and text:
            told[self._reasoning] = text
        elif len(own) < len(thoughts):
            self.lose("thinking", Severity.COSMETIC)


def _image(part: Image) -> Json:
    source = part.source
    if isinstance(source, Remote):
        url = source.url
    else:
        url = f"data:{source.media_type};base64,{source.data}"
    told = {"url": url} if part.detail is None else {"url": url, "detail": part.detail}
    return {"type": "image_url", "image_url": told}


def _call(call: ToolCall) -> Json:
    # a custom tool was offered as a function, so its calls are a function's too
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _compact(content: Sequence[Json]) -> object:
    """Texts alone as one string, which every backend and template takes."""
    if all(one.get("type") == "text" for one in content):
        return "\n".join(str(one["text"]) for one in content)
    return content


def _decoded(source: Inline) -> str | None:
    try:
        return base64.b64decode(source.data).decode()
    except ValueError:  # no base64, or no text
        return None
