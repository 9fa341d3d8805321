"""The items of a client's `input` → messages.

What an assistant does between two turns of the user is several items here, and one message there.
"""

from collections.abc import Callable, Mapping

from sidecar.dialects.openai_responses.items import NAME, thinking_of
from sidecar.dialects.openai_responses.namespaces import Origin, flat_name
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
    ToolCall,
    ToolResult,
)
from sidecar.wire.arguments import of_free_text
from sidecar.wire.fields import Fields, refused

_STORED_ITEM = (
    "`{place}` refers to an item that only the vendor keeps; send the item itself, or ask a "
    "backend that speaks the Responses API."
)
_STORED_FILE = (
    "`{place}` refers to a file that only the vendor keeps; send its content as data, or ask a "
    "backend that speaks the Responses API."
)
_COMPACTED = (
    "`{place}` holds a compacted history that only the vendor can read; send the history itself, "
    "or ask a backend that speaks the Responses API."
)
_AUDIO = "`{place}` is audio, which no other dialect carries; send a transcript."
_UNKNOWN = "`{place}` is content of an unknown type that cannot be carried over; leave it out."
# hand in tools; those count as offered with the request
OFFERING = ("additional_tools", "tool_search_output")
# what the model itself does besides calls; every other foreign item is an answer to it
_BY_ASSISTANT = ("_call", "_list_tools", "_approval_request", "program")


class InputReader:
    """Reads the items of one request; `losses` are what the neutral form cannot hold.

    `names` are the flat names of the tools in namespaces.
    """

    def __init__(self, names: Mapping[Origin, str]) -> None:
        self.losses: list[Loss] = []
        self._names = names
        self._messages: list[Message] = []

    def read(self, body: Fields) -> tuple[Message, ...]:
        """The messages of `input`. Raises RequestRefused."""
        if isinstance(text := body.raw("input"), str):
            return (Message(Role.USER, (Text(text),)),)
        for item in body.objects("input"):
            self._read_item(item)
        return tuple(self._messages)

    def _read_item(self, item: Fields) -> None:
        match item.text("type") or "message":
            case "message":
                self._read_message(item)
            case "function_call":
                call_id, name = item.needed_text("call_id"), self._name(item)
                self._assistant(ToolCall(call_id, name, item.needed_text("arguments")))
            case "custom_tool_call":
                call_id, name = item.needed_text("call_id"), self._name(item)
                arguments = of_free_text(item.needed_text("input"))
                self._assistant(ToolCall(call_id, name, arguments, custom=True))
            case "function_call_output" | "custom_tool_call_output":
                self._user(self._result(item))
            case "reasoning":
                if thinking := thinking_of(item.value):
                    self._assistant(thinking)
            case "item_reference":
                self._fatal("item_reference", _STORED_ITEM, item.path)
            case "compaction":
                self._fatal("compaction", _COMPACTED, item.path)
            case kind if kind in OFFERING:
                pass  # nothing is said in it
            case other:
                part = Opaque(NAME, other, item.value)
                takes = self._assistant if other.endswith(_BY_ASSISTANT) else self._user
                takes(part)

    def _name(self, call: Fields) -> str:
        """The name of the tool of a call or a result, flat where it is in a namespace."""
        name, namespace = call.needed_text("name"), call.text("namespace")
        if not namespace:
            return name
        return self._names.get((namespace, name)) or flat_name(namespace, name)

    def _read_message(self, item: Fields) -> None:
        told = item.needed_text("role")
        if told not in set(Role):
            place = item.place("role")
            raise refused(f"`{place}` is {told[:50]!r}, which is no role.", place)
        role = Role(told)
        if item.has("phase"):
            self.losses.append(Loss("phase", Severity.COSMETIC))
        parts = self._content(item, "content")
        if role is Role.ASSISTANT:
            self._assistant(*parts)
        else:
            self._messages.append(Message(role, parts))

    def _result(self, item: Fields) -> ToolResult:
        content = tuple(
            part
            for part in self._content(item, "output")
            if isinstance(part, Text | Image | Document)
        )
        name = self._name(item) if item.has("name") else None
        return ToolResult(item.needed_text("call_id"), content, name=name)

    def _assistant(self, *parts: Part) -> None:
        self._add(Role.ASSISTANT, parts, lambda last: True)

    def _user(self, part: Part) -> None:
        """Results of one turn stand together, apart from what the user says."""
        self._add(Role.USER, (part,), lambda last: isinstance(last, ToolResult | Opaque))

    def _add(self, role: Role, parts: tuple[Part, ...], joins: Callable[[Part], bool]) -> None:
        last = self._messages[-1] if self._messages else None
        if last is not None and last.role is role and last.parts and joins(last.parts[-1]):
            self._messages[-1] = Message(role, last.parts + parts)
        elif parts:
            self._messages.append(Message(role, parts))

    # --- content ----------------------------------------------------------------------------------

    def _content(self, item: Fields, name: str) -> tuple[Part, ...]:
        if isinstance(text := item.raw(name), str):
            return (Text(text),)
        parts = map(self._part, item.objects(name))
        return tuple(part for part in parts if part is not None)

    def _part(self, part: Fields) -> Part | None:
        if part.has("prompt_cache_breakpoint"):
            self.losses.append(Loss("prompt_cache_breakpoint", Severity.COSMETIC))
        match part.needed_text("type"):
            case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
                return Text(part.needed_text("text"))
            case "refusal":
                return Refusal(part.needed_text("refusal"))
            case "input_image" | "computer_screenshot":
                return self._image(part)
            case "input_file":
                return self._file(part)
            case "input_audio":
                self._fatal("input_audio", _AUDIO, part.path)
            case _:
                self._fatal("content", _UNKNOWN, part.path)
        return None

    def _image(self, part: Fields) -> Image | None:
        url = part.text("image_url")
        if url is None:
            self._take_note_of_stored(part, "image_url")
            return None
        return Image(_source(url, part.place("image_url")), part.text("detail"))

    def _file(self, part: Fields) -> Document | None:
        name, data, url = part.text("filename"), part.text("file_data"), part.text("file_url")
        if data is not None:
            if not data.startswith("data:"):  # plain base64, of what the name tells
                return Document(Inline(_type_of(name), data), name)
            return Document(_source(data, part.place("file_data")), name)
        if url is not None:
            return Document(Remote(url), name)
        self._take_note_of_stored(part, "file_data")
        return None

    def _take_note_of_stored(self, part: Fields, name: str) -> None:
        """What is named by an id, only the vendor knows. Raises where `name` is just missing."""
        if part.text("file_id") is None:
            raise refused(f"`{part.place(name)}` is missing.", part.place(name))
        self._fatal("file_id", _STORED_FILE, part.place("file_id"))

    def _fatal(self, field: str, reason: str, place: str) -> None:
        self.losses.append(Loss(field, Severity.FATAL, reason.format(place=place)))


def _source(url: str, place: str) -> Inline | Remote:
    """Where bytes come from: a data URL, or an address."""
    if not url.startswith("data:"):
        return Remote(url)
    head, comma, data = url.removeprefix("data:").partition(",")
    if not comma or not head.endswith(";base64"):
        raise refused(f"`{place}` is no data URL in base64.", place)
    return Inline(head.removesuffix(";base64").partition(";")[0], data)


def _type_of(name: str | None) -> str:
    is_text = name is not None and name.endswith((".txt", ".md", ".csv"))
    return "text/plain" if is_text else "application/pdf"
