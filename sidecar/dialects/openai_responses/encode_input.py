"""Messages → the items of a backend's `input`."""

from collections.abc import Iterable, Sequence

from sidecar.dialects.openai_responses.items import NAME, call_item, signed_item
from sidecar.neutral.request import (
    ChatRequest,
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
from sidecar.wire.arguments import custom_tools, is_custom
from sidecar.wire.inline import address
from sidecar.wire.json import Json
from sidecar.wire.signature import is_signed_by

_BY_ASSISTANT = (
    "The Responses API takes pictures and documents only from the user, not in a turn of the "
    "assistant."
)


class InputWriter:
    """Writes the items of one request; `losses` are what did not get into them."""

    def __init__(self, request: ChatRequest, keeps_thinking: bool) -> None:
        self.losses: list[Loss] = []
        self.items: list[Json] = []
        self._keeps_thinking = keeps_thinking
        self._custom_tools = custom_tools(request.tools)
        self._custom_calls: set[str] = set()  # ids

    def write(self, messages: Sequence[Message]) -> list[Json]:
        """The items of the messages."""
        for message in regrouped(messages):
            self._write_message(message)
        return self.items

    def _write_message(self, message: Message) -> None:
        said: list[Json] = []
        for part in message.parts:
            content = self._content(part, message.role)
            if content is not None:
                said.append(content)
                continue
            self._say(message.role, said)
            said = []
            self.items += self._own_items(part)
        self._say(message.role, said)
        if message.role is Role.ASSISTANT:
            self._drop_loose_reasoning()

    def _say(self, role: Role, content: list[Json]) -> None:
        if content:
            self.items.append({"type": "message", "role": role.value, "content": content})

    def _drop_loose_reasoning(self) -> None:
        """Take out reasoning that nothing follows in its turn: the vendor refuses it."""
        while self.items and self.items[-1].get("type") == "reasoning":
            self.items.pop()
            self.losses.append(Loss("thinking", Severity.COSMETIC))

    # --- parts of a message -----------------------------------------------------------------------

    def _content(self, part: Part, role: Role) -> Json | None:
        """A part as content of its message; None for one that is an item, or nothing."""
        match part:
            case Text(text=""):
                return None
            case Text(text=text):
                kind = "output_text" if role is Role.ASSISTANT else "input_text"
                return {"type": kind, "text": text}
            case Refusal(text):
                if role is Role.ASSISTANT:
                    return {"type": "refusal", "refusal": text}
                return {"type": "input_text", "text": text}
            case Image() | Document() if role is Role.ASSISTANT:
                field = "images" if isinstance(part, Image) else "documents"
                self.losses.append(Loss(field, Severity.FATAL, _BY_ASSISTANT))
                return None
            case Image():
                return _image(part)
            case Document():
                return _document(part)
            case _:
                return None

    # --- parts that are items ---------------------------------------------------------------------

    def _own_items(self, part: Part) -> Iterable[Json]:
        match part:
            case ToolCall():
                custom = is_custom(part, self._custom_tools)
                if custom:
                    self._custom_calls.add(part.id)
                yield call_item(part, custom)
            case ToolResult():
                yield self._result(part)
            case Thinking():
                yield from self._thinking(part)
            case Opaque() if part.dialect == NAME:
                yield part.raw
            case Opaque():
                self.losses.append(Loss(part.kind, Severity.SEMANTIC))
            case _:
                pass

    def _thinking(self, part: Thinking) -> Iterable[Json]:
        if part.signature is not None and is_signed_by(part, NAME) and self._keeps_thinking:
            yield signed_item(part.signature, part.text)
        else:
            self.losses.append(Loss("thinking", Severity.COSMETIC))

    def _result(self, part: ToolResult) -> Json:
        kind = "custom_tool_call" if part.call_id in self._custom_calls else "function_call"
        return {"type": f"{kind}_output", "call_id": part.call_id, "output": _output(part)}


def _output(result: ToolResult) -> str | list[Json]:
    """What a tool has answered: a text, or a list where it is not one text alone."""
    content = result.content
    if result.is_error:
        content = _as_error(content)
    match content:
        case ():
            return ""
        case (Text(text),):
            return text
        case _:
            return [_piece(piece) for piece in content]


def _as_error(content: tuple[Text | Image | Document, ...]) -> tuple[Text | Image | Document, ...]:
    """The content marked as an error, for which there is no field."""
    first = content[0] if content else None
    if isinstance(first, Text):
        return (Text(f"Error: {first.text}"), *content[1:])
    return (Text("Error:"), *content)


def _piece(piece: Text | Image | Document) -> Json:
    match piece:
        case Text(text):
            return {"type": "input_text", "text": text}
        case Image():
            return _image(piece)
        case Document():
            return _document(piece)


def _image(part: Image) -> Json:
    return {
        "type": "input_image",
        "image_url": address(part.source),
        "detail": part.detail or "auto",
    }


def _document(part: Document) -> Json:
    match part.source:
        case str(text):
            named = f"{part.name}:\n{text}" if part.name else text
            return {"type": "input_text", "text": named}
        case Remote(url):
            return {"type": "input_file", "file_url": url}
        case Inline() as source:
            name = part.name or _file_name(source.media_type)
            return {"type": "input_file", "filename": name, "file_data": address(source)}


def _file_name(media_type: str) -> str:
    """A name for a file without one; its ending tells the vendor how to read it."""
    kind = media_type.rpartition("/")[2]
    return f"document.{'txt' if kind == 'plain' else kind}"
