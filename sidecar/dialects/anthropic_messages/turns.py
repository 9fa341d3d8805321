"""The turns of a conversation as blocks.

The vendor wants roles to alternate from a user's turn on, no empty text, and the results of tools
first in the turn behind their calls. System prompts stand outside; one in the middle of a
conversation becomes marked text of the user.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sidecar.dialects.anthropic_messages.thinking import NAME
from sidecar.neutral.request import (
    Document,
    Image,
    Inline,
    Loss,
    Message,
    Opaque,
    Part,
    Raw,
    Refusal,
    Remote,
    Role,
    Severity,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from sidecar.neutral.turns import NOTHING_SAID, alternating, prompt_first, regrouped
from sidecar.wire.arguments import as_object
from sidecar.wire.inline import decoded
from sidecar.wire.json import Json
from sidecar.wire.names import safe_id
from sidecar.wire.picture import media_type
from sidecar.wire.signature import is_signed_by

_PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_PDF = "application/pdf"

Block = dict[str, object]


@dataclass(frozen=True, slots=True)
class Turns:
    """A conversation: `system` blocks, and messages."""

    system: list[Block]
    messages: list[Json]
    losses: tuple[Loss, ...]


def encoded(messages: Sequence[Message], *, signed: bool, continues: bool) -> Turns:
    """The turns of a request.

    `signed` tells whether signed thinking may be shown, `continues` whether the model goes on with
    a last turn of the assistant.
    """
    writer = _Writer(signed)
    folded = prompt_first(messages)
    prompts = [message for message in folded if message.role is Role.SYSTEM]
    system = [block for message in prompts for block in writer.prompt(message)]
    turns = regrouped(folded[len(prompts) :])
    spoken = [turn for turn in map(writer.without_nothing, turns) if turn.parts]
    joined = [
        (turn.role, [block for part in turn.parts for block in writer.blocks(part, turn.role)])
        for turn in alternating(spoken)
    ]
    told = [(role, blocks) for role, blocks in joined if blocks]
    if not told or told[0][0] is Role.ASSISTANT:
        told.insert(0, (Role.USER, [_text(NOTHING_SAID)]))
    role, blocks = told[-1]
    if role is Role.ASSISTANT:
        if continues:
            _trim(blocks)
        else:
            told.append((Role.USER, [_text(NOTHING_SAID)]))
            writer.lose("prefill", Severity.SEMANTIC)
    messages_told: list[Json] = [
        {"role": role.value, "content": _content(blocks)} for role, blocks in told
    ]
    return Turns(system, messages_told, tuple(writer.losses))


def _trim(blocks: list[Block]) -> None:
    """Take the space off the end of what is to be continued, which is refused there."""
    last = blocks[-1]
    if isinstance(text := last.get("text"), str):
        last["text"] = text.rstrip()


def _content(blocks: list[Block]) -> object:
    """Blocks, or the text alone where they say no more than that."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return blocks[0]["text"]
    return blocks


def _text(text: str, cache: Raw | None = None) -> Block:
    return _marked({"type": "text", "text": text}, cache)


def _marked(block: Block, cache: Raw | None) -> Block:
    return block if cache is None else {**block, "cache_control": cache}


class _Writer:
    """Writes parts as blocks and keeps account of what gets lost."""

    def __init__(self, signed: bool) -> None:
        self._signed = signed
        self.losses: list[Loss] = []

    def lose(self, field: str, severity: Severity, reason: str = "") -> None:
        self.losses.append(Loss(field, severity, reason))

    def prompt(self, message: Message) -> Iterable[Block]:
        for part in message.parts:
            if isinstance(part, Text):
                yield _text(part.text, part.cache)
            else:
                self.lose("system", Severity.FATAL, "A system prompt can only hold text.")

    def without_nothing(self, message: Message) -> Message:
        """The turn without what is empty or not to be shown."""
        return replace(message, parts=tuple(part for part in message.parts if self._says(part)))

    def _says(self, part: Part) -> bool:
        match part:
            case Text(text) | Refusal(text):
                return bool(text.strip())
            case Thinking():
                if self._signed and is_signed_by(part, NAME):
                    return True
                self.lose("thinking", Severity.COSMETIC)
                return False
            case Opaque() if part.dialect != NAME:
                self.lose(part.kind, Severity.SEMANTIC)
                return False
            case _:
                return True

    def blocks(self, part: Part, role: Role) -> Iterable[Block]:
        match part:
            case Image() | Document() if role is Role.ASSISTANT:
                field = "images" if isinstance(part, Image) else "documents"
                self.lose(field, Severity.FATAL, "A turn of the assistant can only hold text.")
            case Text() | Image() | Document():
                yield from self._content(part)
            case Refusal(text):
                yield _text(text)
            case Thinking():
                yield _thinking(part)
            case ToolCall():
                call = {"type": "tool_use", "id": safe_id(part.id), "name": part.name}
                yield _marked({**call, "input": as_object(part.arguments)}, part.cache)
            case ToolResult():
                yield self._result(part)
            case Opaque():
                yield dict(part.raw)

    def _content(self, part: Text | Image | Document) -> Iterable[Block]:
        match part:
            case Text(text, cache):
                yield _text(text, cache)
            case Image():
                if (source := self._picture(part.source)) is not None:
                    yield _marked({"type": "image", "source": source}, part.cache)
            case Document():
                if (source := self._file(part.source)) is not None:
                    block: Block = {"type": "document", "source": source}
                    if part.name:
                        block["title"] = part.name
                    yield _marked(block, part.cache)

    def _result(self, result: ToolResult) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": safe_id(result.call_id)}
        shown = [part for part in result.content if self._says(part)]
        blocks = [block for part in shown for block in self._content(part)]
        if blocks:
            block["content"] = _content(blocks)
        if result.is_error:
            block["is_error"] = True
        return _marked(block, result.cache)

    def _picture(self, source: Inline | Remote) -> Block | None:
        if isinstance(source, Remote):
            return self._remote(source, "images")
        told = source.media_type.casefold()
        found = _seen_type(source.data) or told
        if found not in _PICTURES:
            reason = (
                f"No images of the type {told or 'unknown'} are read; send JPEG, PNG, GIF or WebP."
            )
            self.lose("images", Severity.FATAL, reason)
            return None
        return {"type": "base64", "media_type": found, "data": source.data}

    def _file(self, source: Inline | Remote | str) -> Block | None:
        match source:
            case str(text):
                return {"type": "text", "media_type": "text/plain", "data": text}
            case Remote():
                return self._remote(source, "documents")
            case Inline(kind, data) if kind.casefold() == _PDF:
                return {"type": "base64", "media_type": _PDF, "data": data}
            case Inline(kind) if kind.casefold().startswith("text/"):
                if (words := decoded(source)) is not None:
                    return {"type": "text", "media_type": "text/plain", "data": words}
                self.lose("documents", Severity.FATAL, "A document that calls itself text is none.")
                return None
            case Inline(kind):
                reason = f"No documents of the type {kind} are read; send a PDF or text."
                self.lose("documents", Severity.FATAL, reason)
                return None

    def _remote(self, source: Remote, field: str) -> Block | None:
        if source.url.casefold().startswith(("https://", "http://")):
            return {"type": "url", "url": source.url}
        reason = "This backend fetches only http and https addresses; send the content itself."
        self.lose(field, Severity.FATAL, reason)
        return None


def _seen_type(data: str) -> str | None:
    """What the bytes of a picture say that they are; clients are often wrong about it."""
    try:
        return media_type(base64.b64decode(data[:16]))
    except ValueError:
        return None


def _thinking(part: Thinking) -> Block:
    if part.redacted:
        return {"type": "redacted_thinking", "data": part.signature}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}
