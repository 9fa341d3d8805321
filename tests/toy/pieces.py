"""What turns and answers are made of: one object for each part."""

from sidecar.neutral.request import (
    Document,
    Image,
    Inline,
    Opaque,
    Part,
    Refusal,
    Remote,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from sidecar.neutral.response import AnswerPart
from sidecar.wire.fields import Fields, refused
from sidecar.wire.json import Json
from sidecar.wire.signature import unwrapped, wrapped

NAME = "toy"


def written(part: Part) -> Json | None:
    """A part as the toy says it; None where it has no words for it."""
    match part:
        case Text(text):
            return {"text": text}
        case Refusal(text):
            return {"refuse": text}
        case Thinking():
            return {"think": part.text, "seal": seal(part)}
        case Image(source):
            if isinstance(source, Remote):
                return {"look": source.url}
            return {"picture": source.data, "type": source.media_type}
        case ToolCall(id, name, arguments):
            return {"use": name, "id": id, "with": arguments}
        case ToolResult(call_id, content, is_error):
            return {"used": call_id, "gave": [written(one) for one in content], "bad": is_error}
        case Document() | Opaque():
            return None


def seal(part: Thinking) -> str:
    """The proof of a thought, as a client of the toy is to keep it."""
    told = wrapped(part.signature, part.signed_by, NAME)
    return f"!{told}" if part.redacted else told


def unsealed(text: str, told: str) -> Thinking:
    """A thought and its proof."""
    signature, signed_by = unwrapped(told.removeprefix("!"), NAME)
    return Thinking(text, signature, signed_by, redacted=told.startswith("!"))


def read(piece: Fields) -> Part:
    """The part that a client or a backend wrote. Raises RequestRefused."""
    if piece.has("used"):
        gave = [read(one) for one in piece.objects("gave")]
        content = tuple(one for one in gave if isinstance(one, Text | Image))
        return ToolResult(piece.needed_text("used"), content, piece.truth("bad") or False)
    if piece.has("picture"):
        source = Inline(piece.needed_text("type"), piece.needed_text("picture"))
        return Image(source)
    if piece.has("look"):
        return Image(Remote(piece.needed_text("look")))
    return read_answer(piece)


def read_answer(piece: Fields) -> AnswerPart:
    """A part that a model may say. Raises RequestRefused."""
    if piece.has("use"):
        call = piece.needed_text("id"), piece.needed_text("use"), piece.text("with") or ""
        return ToolCall(*call)
    if piece.has("think"):
        return unsealed(piece.needed_text("think"), piece.text("seal") or "")
    if piece.has("refuse"):
        return Refusal(piece.needed_text("refuse"))
    if piece.has("text"):
        return Text(piece.needed_text("text"))
    raise refused(f"`{piece.path}` says nothing that is known.", piece.path)
