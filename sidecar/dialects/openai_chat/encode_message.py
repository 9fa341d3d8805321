"""Neutral messages → the messages of a request for a backend."""

from collections.abc import Iterable, Sequence

from sidecar.dialects.openai_chat.reasoning import NAME, details
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
from sidecar.wire.contract import Feature, Target
from sidecar.wire.inline import address, decoded
from sidecar.wire.json import Json
from sidecar.wire.signature import is_signed_by

_PDF = "application/pdf"
_REMOTE = "This backend reads no document by its address; send the document itself, in base64."
_UNREADABLE = "This backend reads documents as PDF or text; convert the one of the type {kind!r}."
# what Gemini documents for calls whose signature is not known
_NO_PROOF: Json = {
    "extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}
}
# DeepSeek refuses calls of the past without this field, and takes it empty where none was thought
_WANTED = "reasoning_content"
_SHOWN = "[shown in the next message]"  # stands in a tool's result for what only a user can show


class Messages:
    """Writes messages for one target; `losses` is what they could not carry."""

    def __init__(self, target: Target) -> None:
        self.losses: dict[str, Loss] = {}
        self._traits = target.traits
        self._continues = target.continues
        self._gives_back = Feature.SIGNED_THINKING not in target.without

    def write(self, messages: Sequence[Message]) -> list[Json]:
        """All messages, with the results of tools right behind their calls.

        A turn of which nothing is left is left out.
        """
        told: list[Json] = []
        written: list[Json] = []
        for message in regrouped(messages if self._traits.late_system else prompt_first(messages)):
            written = self._turn(message)
            told += written
        last = told[-1]["role"] if told else None
        if messages and not written and last not in ("user", "tool"):
            told.append({"role": "user", "content": NOTHING_SAID})
        elif last == "assistant" and not self._continues:
            self.lose("prefill", Severity.SEMANTIC)
        return told

    def _turn(self, message: Message) -> list[Json]:
        match message.role:
            case Role.SYSTEM | Role.DEVELOPER:
                return self._system(message.parts)
            case Role.USER:
                return self._user(message.parts)
            case Role.ASSISTANT:
                return self._assistant(message.parts)

    def lose(self, field: str, severity: Severity, reason: str = "") -> None:
        """Note what cannot be carried, once."""
        self.losses.setdefault(field, Loss(field, severity, reason))

    def _system(self, parts: Iterable[Part]) -> list[Json]:
        written = [self._content(part) for part in parts]
        texts = [str(one["text"]) for one in written if one and one.get("type") == "text"]
        return [{"role": "system", "content": "\n\n".join(texts)}] if texts else []

    # --- users and tools --------------------------------------------------------------------------

    def _user(self, parts: Sequence[Part]) -> list[Json]:
        results = [part for part in parts if isinstance(part, ToolResult)]
        shown: list[Json] = []
        told = [self._result(result, shown) for result in results]
        said = [self._content(part) for part in parts if not isinstance(part, ToolResult)]
        content = [*shown, *(one for one in said if one is not None)]
        if content or not parts:
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
        if isinstance(source, Inline):
            source = decoded(source) or source
        match source:
            case str(text):
                return {"type": "text", "text": f"{part.name}\n\n{text}" if part.name else text}
            case Inline(media_type) if media_type == _PDF:
                name = part.name or "document.pdf"
                return {"type": "file", "file": {"filename": name, "file_data": address(source)}}
            case Inline(media_type):
                self.lose("documents", Severity.FATAL, _UNREADABLE.format(kind=media_type))
            case Remote():
                self.lose("documents", Severity.FATAL, _REMOTE)
        return None

    def _opaque(self, part: Opaque) -> Json | None:
        if part.dialect == NAME:
            return part.raw
        self.lose(part.kind, Severity.SEMANTIC)
        return None

    # --- the assistant ----------------------------------------------------------------------------

    def _assistant(self, parts: Sequence[Part]) -> list[Json]:
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
        told |= self._thinking(thoughts, calls)
        if any(call.cache is not None for call in calls):
            self.lose("cache_control", Severity.COSMETIC)
        if calls:
            proof = _NO_PROOF if self._traits.signs_calls else {}
            told["tool_calls"] = [{**_call(call), **proof} for call in calls]
        return [told] if text or told.keys() > {"role", "content"} else []

    def _thinking(self, thoughts: Sequence[Thinking], calls: Sequence[ToolCall]) -> Json:
        own = [part for part in thoughts if self._gives_back and is_signed_by(part, NAME)]
        text = "".join(part.text for part in thoughts)
        told: dict[str, object] = {"reasoning_details": details(own)} if own else {}
        field = self._traits.reasoning if self._gives_back else None
        if field is not None and (text or (calls and field == _WANTED)):
            told[field] = text
        if len(own) < len(thoughts) and not (field is not None and text):
            self.lose("thinking", Severity.COSMETIC)
        return told


def _image(part: Image) -> Json:
    url = address(part.source)
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
