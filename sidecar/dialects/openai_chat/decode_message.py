"""The messages of a request → neutral messages."""

from collections.abc import Sequence

from sidecar.dialects.openai_chat.reasoning import thinking_of
from sidecar.neutral.request import (
    Document,
    Image,
    Inline,
    Loss,
    Message,
    Part,
    Refusal,
    Remote,
    Role,
    Severity,
    Text,
    ToolCall,
    ToolResult,
)
from sidecar.wire import json
from sidecar.wire.arguments import of_free_text
from sidecar.wire.fields import Fields, refused
from sidecar.wire.inline import decoded, from_data_uri

_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.DEVELOPER,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}
_REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")
_ECHOED = ("annotations", "index", "prefix")  # of an answer that clients send back as it came
_AUDIO = "The models behind this address are not given audio; send its transcript as text."
_BY_ID = "A file that is named by its id is stored at one vendor; send it as `file_data`."


class Messages:
    """Reads messages in their order; `losses` is what the neutral form has no place for."""

    def __init__(self) -> None:
        self.losses: dict[str, Loss] = {}
        self._called: dict[str, str] = {}  # function of the older form → id of its last call

    def read(self, told: Sequence[Fields]) -> tuple[Message, ...]:
        """All messages. Raises RequestRefused that names the field at fault."""
        messages: list[Message] = []
        for place, fields in enumerate(told):
            message = self._message(fields, place)
            last = messages[-1] if messages else None
            if last is not None and _is_results(message) and _is_results(last):
                messages[-1] = Message(Role.USER, last.parts + message.parts)
            else:
                messages.append(message)
            for name in fields.unread():
                self._lose(f"messages.{name}", Severity.COSMETIC)
        return tuple(messages)

    def _lose(self, field: str, severity: Severity, reason: str = "") -> None:
        self.losses.setdefault(field, Loss(field, severity, reason))

    def _message(self, fields: Fields, place: int) -> Message:
        role = fields.needed_text("role")
        for name in _ECHOED:
            fields.raw(name)
        if role in ("tool", "function"):
            return Message(Role.USER, (self._result(fields, role),))
        if role not in _ROLES:
            expected = "system, developer, user, assistant or tool"
            raise refused(
                f"`{fields.place('role')}` is {role!r}; {expected} was expected.",
                fields.place("role"),
            )
        if fields.text("name"):
            self._lose("messages.name", Severity.SEMANTIC)
        content = self._content(fields)
        if role != "assistant":
            return Message(_ROLES[role], tuple(content))
        for name in _REASONING:
            fields.raw(name)
        if fields.raw("audio"):
            self._lose("messages.audio", Severity.SEMANTIC)
        thoughts = thinking_of({name: fields.raw(name) for name in _REASONING})
        refusal = fields.text("refusal")
        said = [*thoughts, *content, *([Refusal(refusal)] if refusal else [])]
        return Message(Role.ASSISTANT, (*said, *self._calls(fields, place)))

    # --- content ----------------------------------------------------------------------------------

    def _content(self, fields: Fields) -> list[Part]:
        if isinstance(fields.raw("content"), list):
            parts = [self._part(one) for one in fields.objects("content")]
            return [part for part in parts if part is not None]
        text = fields.text("content")
        return [Text(text)] if text is not None else []

    def _part(self, fields: Fields) -> Part | None:
        kind = fields.text("type") or ""
        cache = fields.mapping("cache_control")
        match kind:
            case "text" | "input_text" | "output_text":
                return Text(fields.needed_text("text"), cache)
            case "refusal":
                return Refusal(fields.needed_text("refusal"))
            case "image_url":
                return self._image(fields)
            case "file":
                return self._file(fields)
            case "input_audio":
                self._lose("input_audio", Severity.FATAL, _AUDIO)
            case _:
                why = f"Content of the type {kind!r} cannot be given to a backend of this dialect."
                self._lose(kind or "content", Severity.FATAL, why)
        return None

    def _image(self, fields: Fields) -> Image:
        told = fields.object("image_url")
        if told is None:  # some clients write the address where the object belongs
            raise refused(
                f"`{fields.place('image_url')}` is missing; an object with `url` was expected.",
                fields.place("image_url"),
            )
        url, cache = told.needed_text("url"), fields.mapping("cache_control")
        source = Remote(url) if _is_web(url) else from_data_uri(url)
        if source is None:
            raise refused(
                f"`{told.place('url')}` is neither an http address nor a data URI.",
                told.place("url"),
            )
        return Image(source, told.text("detail"), cache)

    def _file(self, fields: Fields) -> Document | None:
        told = fields.object("file")
        if told is None:
            raise refused(
                f"`{fields.place('file')}` is missing; an object was expected.",
                fields.place("file"),
            )
        data, cache = told.text("file_data"), fields.mapping("cache_control")
        if data is None:
            self._lose("file_id", Severity.FATAL, _BY_ID)
            return None
        name = told.text("filename")
        if _is_web(data):
            return Document(Remote(data), name, cache)
        source = from_data_uri(data) or Inline("application/pdf", data)
        if (text := decoded(source)) is not None:
            return Document(text, name, cache)
        return Document(source, name, cache)

    # --- tools ------------------------------------------------------------------------------------

    def _result(self, fields: Fields, role: str) -> ToolResult:
        name = fields.text("name")
        if role == "function":
            id = self._called.get(name or "", f"call_{name}")
        else:
            id = fields.needed_text("tool_call_id")
        content = self._content(fields)
        told = tuple(part for part in content if isinstance(part, Text | Image | Document))
        return ToolResult(id, told, name=name)

    def _calls(self, fields: Fields, place: int) -> list[ToolCall]:
        calls = [_call(one) for one in fields.objects("tool_calls")]
        old = fields.object("function_call")
        if old is not None and not calls:
            name = old.needed_text("name")
            # that form has no ids; the place makes one that is the same in every later turn
            self._called[name] = f"call_{place}"
            calls = [ToolCall(f"call_{place}", name, _arguments(old))]
        return calls


def _call(fields: Fields) -> ToolCall:
    id = fields.needed_text("id")
    custom = fields.object("custom")
    if custom is not None:
        arguments = of_free_text(custom.text("input") or "")
        return ToolCall(id, custom.needed_text("name"), arguments, custom=True)
    function = fields.object("function")
    if function is None:
        raise refused(
            f"`{fields.place('function')}` is missing; an object with `name` and `arguments` "
            "was expected.",
            fields.place("function"),
        )
    return ToolCall(id, function.needed_text("name"), _arguments(function))


def _arguments(function: Fields) -> str:
    told = function.raw("arguments")
    if told is None or isinstance(told, str):
        return told or ""
    return json.dumps(told).decode()


def _is_results(message: Message) -> bool:
    return bool(message.parts) and all(isinstance(part, ToolResult) for part in message.parts)


def _is_web(url: str) -> bool:
    return url[:8].casefold().startswith(("http://", "https://"))
