"""A body for `/v1/messages` → the neutral request.

Refused is only what the vendor itself would refuse as malformed; what the neutral form has no place
for stands in `unheard`.
"""

from collections.abc import Iterable

from sidecar.dialects.anthropic_messages.thinking import NAME
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Document,
    Effort,
    Image,
    Inline,
    JsonOutput,
    Loss,
    Message,
    Opaque,
    Part,
    Reasoning,
    Remote,
    Role,
    Sampling,
    Severity,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from sidecar.wire import json
from sidecar.wire.contract import Operation
from sidecar.wire.fields import Fields, refused
from sidecar.wire.json import Json
from sidecar.wire.names import original_id
from sidecar.wire.signature import unwrapped

# top-level fields that are understood and have no place in the neutral form
_UNHEARD = {
    "cache_control": Severity.COSMETIC,  # markers that the vendor sets itself
    "diagnostics": Severity.COSMETIC,
    "speed": Severity.COSMETIC,
    "user_profile_id": Severity.COSMETIC,
    "container": Severity.SEMANTIC,
    "context_management": Severity.SEMANTIC,
    "inference_geo": Severity.SEMANTIC,
    "mcp_servers": Severity.SEMANTIC,
}
_CHOICES = {
    "auto": Choosing.AUTO,
    "any": Choosing.REQUIRED,
    "tool": Choosing.NAMED,
    "none": Choosing.NONE,
}
# blocks of the vendor's own tools; beside those of the results, *_tool_result
_OWN_BLOCKS = ("server_tool_use", "mcp_tool_use", "tool_reference", "compaction", "fallback")
_SPEAKERS = {"tool_use": Role.ASSISTANT, "tool_result": Role.USER}  # whose messages hold a block
_FILES = "A file of the vendor's store can be read only there; send its content itself."
_WARM_UP = (
    "Only the vendor's own API fills its cache without an answer; set max_tokens to 1 or more."
)


def decode_request(operation: Operation, body: Json) -> ChatRequest:
    """What a client asks. Raises RequestRefused where the vendor would refuse it as malformed."""
    return _Reader(Fields(body)).request()


def _is_own(kind: str) -> bool:
    """Whether a block is of the vendor's own tools."""
    return kind in _OWN_BLOCKS or kind.endswith("_tool_result")


class _Reader:
    """Reads one request and keeps account of what was not heard."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._unheard: list[Loss] = []

    def request(self) -> ChatRequest:
        fields = self._fields
        choice, parallel = self._choice()
        return ChatRequest(
            messages=(*self._system(), *map(self._message, fields.objects("messages"))),
            model=fields.text("model"),
            stream=fields.truth("stream") or False,
            tools=tuple(map(self._tool, fields.objects("tools"))),
            tool_choice=choice,
            parallel_tool_calls=parallel,
            sampling=Sampling(
                temperature=fields.number("temperature"),
                top_p=fields.number("top_p"),
                top_k=fields.whole("top_k"),
            ),
            max_tokens=self._max_tokens(),
            stop=fields.texts("stop_sequences"),
            user=self._user(),
            service_tier=fields.text("service_tier"),
            reasoning=self._reasoning(),
            output=self._output(),
            unheard=self._losses(),
        )

    def _lose(self, field: str, severity: Severity, reason: str = "") -> None:
        self._unheard.append(Loss(field, severity, reason))

    def _losses(self) -> tuple[Loss, ...]:
        """All that was not heard; the last to be read."""
        for name in self._fields.unread():
            if self._fields.value[name] not in (False, [], {}):  # nothing is asked for
                self._lose(name, _UNHEARD.get(name, Severity.SEMANTIC))
        return tuple(dict.fromkeys(self._unheard))

    def _max_tokens(self) -> int | None:
        told = self._fields.whole("max_tokens")
        if told is not None and told < 0:
            raise refused(
                "`max_tokens` is negative; a number of tokens was expected.", "max_tokens"
            )
        if told == 0:
            self._lose("max_tokens", Severity.FATAL, _WARM_UP)
        return told

    def _user(self) -> str | None:
        metadata = self._fields.object("metadata")
        if metadata is None:
            return None
        user = metadata.text("user_id")
        if metadata.unread():
            self._lose("metadata", Severity.COSMETIC)
        return user

    # --- how to answer ----------------------------------------------------------------------------

    def _reasoning(self) -> Reasoning | None:
        thinking = self._fields.object("thinking")
        effort = self._effort()
        if thinking is None:
            return None if effort is None else Reasoning(effort)
        summary = "auto" if thinking.text("display") == "summarized" else None
        match thinking.needed_text("type"):
            case "disabled" | "between_tools":
                return Reasoning(Effort.NONE)
            case "enabled":
                return Reasoning(effort, thinking.whole("budget_tokens"), summary)
            case "adaptive":
                return Reasoning(effort, None, summary)
            case _:
                self._lose("thinking", Severity.COSMETIC)
                return Reasoning(effort, None, summary)

    def _effort(self) -> Effort | None:
        config = self._fields.object("output_config")
        told = None if config is None else config.text("effort")
        if told is None:
            return None
        if told not in tuple(Effort):
            self._lose("effort", Severity.COSMETIC)
            return None
        return Effort(told)

    def _output(self) -> JsonOutput | None:
        config = self._fields.object("output_config")
        # before it had a place in `output_config`, the format stood for itself
        told = None if config is None else config.object("format")
        old = self._fields.object("output_format")
        told = told or old
        if config is not None:
            config.raw("effort")
            for name in config.unread():
                self._lose(f"output_config.{name}", Severity.SEMANTIC)
        if told is None:
            return None
        if told.needed_text("type") != "json_schema":
            self._lose("output_format", Severity.SEMANTIC)
            return None
        return JsonOutput(told.mapping("schema"), strict=True)

    def _choice(self) -> tuple[ToolChoice | None, bool | None]:
        choice = self._fields.object("tool_choice")
        if choice is None:
            return None, None
        kind = choice.needed_text("type")
        parallel = False if choice.truth("disable_parallel_tool_use") else None
        if kind not in _CHOICES:
            self._lose("tool_choice", Severity.SEMANTIC)
            return None, parallel
        name = choice.needed_text("name") if kind == "tool" else None
        return ToolChoice(_CHOICES[kind], name), parallel

    def _tool(self, tool: Fields) -> Tool | Opaque:
        kind = tool.text("type")
        if kind not in (None, "custom"):
            return Opaque(NAME, kind, tool.value)
        told = Tool(
            name=tool.needed_text("name"),
            description=tool.text("description"),
            schema=tool.mapping("input_schema") or {},
            strict=tool.truth("strict"),
            cache=tool.mapping("cache_control"),
        )
        for name in tool.unread():
            self._lose(f"tools.{name}", Severity.COSMETIC)
        return told

    # --- the conversation -------------------------------------------------------------------------

    def _system(self) -> Iterable[Message]:
        told = self._fields.raw("system")
        if told is None or told == "":
            return ()
        if isinstance(told, str):
            return (Message(Role.SYSTEM, (Text(told),)),)
        blocks = self._fields.objects("system")
        if not blocks:
            return ()
        return (Message(Role.SYSTEM, tuple(self._parts(blocks, Role.SYSTEM))),)

    def _message(self, message: Fields) -> Message:
        role = message.needed_text("role")
        if role not in ("user", "assistant", "system"):
            told = f"`{message.place('role')}` is {role!r}; user or assistant was expected."
            raise refused(told, message.place("role"))
        content = message.raw("content")
        if isinstance(content, str):
            return Message(Role(role), (Text(content),))
        return Message(Role(role), tuple(self._parts(message.objects("content"), Role(role))))

    def _parts(self, blocks: Iterable[Fields], role: Role) -> Iterable[Part]:
        for block in blocks:
            kind = block.needed_text("type")
            if (speaker := _SPEAKERS.get(kind, role)) is not role:
                told = f"`{block.path}` is a `{kind}`, which only a message of the {speaker} holds."
                raise refused(told, block.path)
            yield from self._part(block)

    def _part(self, block: Fields) -> Iterable[Part]:
        cache = block.mapping("cache_control")
        match block.needed_text("type"):
            case "thinking":
                text = block.text("thinking") or ""
                yield Thinking(text, *unwrapped(block.text("signature") or "", NAME))
            case "redacted_thinking":
                signature, signed_by = unwrapped(block.needed_text("data"), NAME)
                yield Thinking("", signature, signed_by, redacted=True)
            case "tool_use":
                arguments = json.dumps(block.mapping("input") or {}).decode()
                id = original_id(block.needed_text("id"))
                yield ToolCall(id, block.needed_text("name"), arguments, cache=cache)
            case "tool_result":
                yield self._result(block)
            case kind if _is_own(kind):
                yield Opaque(NAME, kind, block.value)
            case _:
                yield from self._content(block)

    def _content(self, block: Fields) -> Iterable[Text | Image | Document]:
        cache = block.mapping("cache_control")
        match block.needed_text("type"):
            case "text":
                yield Text(block.needed_text("text"), cache)
            case "image":
                if (source := self._source(block, "images")) is not None:
                    yield Image(source, cache=cache)
            case "document":
                yield from self._document(block)
            case "search_result":
                texts = [item.text("text") for item in block.objects("content")]
                told = (block.text("title"), block.text("source"), *texts)
                yield Text("\n".join(filter(None, told)), cache)
                self._cited(block)
            case kind if _is_own(kind):  # within a result, which holds only what all can read
                self._lose(kind, Severity.SEMANTIC)
            case kind:
                reason = f"Content of the type `{kind}` is known to the vendor's own API only."
                self._lose(kind, Severity.FATAL, reason)

    def _cited(self, block: Fields) -> None:
        citations = block.object("citations")
        if citations is not None and citations.truth("enabled"):
            self._lose("citations", Severity.SEMANTIC)

    def _source(self, block: Fields, field: str) -> Inline | Remote | None:
        source = block.object("source")
        if source is None:
            place = block.place("source")
            raise refused(f"`{place}` is missing; an object was expected.", place)
        match kind := source.needed_text("type"):
            case "base64":
                return Inline(source.needed_text("media_type"), source.needed_text("data"))
            case "url":
                return Remote(source.needed_text("url"))
            case "file":
                self._lose("files", Severity.FATAL, _FILES)
            case _:
                reason = f"A source of the type `{kind}` is known to the vendor's own API only."
                self._lose(field, Severity.FATAL, reason)
        return None

    def _document(self, block: Fields) -> Iterable[Text | Image | Document]:
        name, cache = block.text("title"), block.mapping("cache_control")
        self._cited(block)
        if context := block.text("context"):
            yield Text(context)
        source = block.object("source")
        match source and source.text("type"):
            case "text" if source is not None:
                yield Document(source.needed_text("data"), name, cache)
            case "content" if source is not None:
                told = source.raw("content")
                if isinstance(told, str):
                    yield Document(told, name, cache)
                    return
                for item in source.objects("content"):
                    yield from self._content(item)
            case _:
                if (found := self._source(block, "documents")) is not None:
                    yield Document(found, name, cache)

    def _result(self, block: Fields) -> ToolResult:
        content = block.raw("content")
        parts: tuple[Text | Image | Document, ...]
        if isinstance(content, str):
            parts = (Text(content),)
        else:
            found = [part for item in block.objects("content") for part in self._content(item)]
            parts = tuple(found)
        return ToolResult(
            original_id(block.needed_text("tool_use_id")),
            parts,
            is_error=block.truth("is_error") or False,
            cache=block.mapping("cache_control"),
        )
