"""Requests of the toy: {"model", "stream", "turns": [{"by", "say": [piece]}], "tools", ...}."""

from collections.abc import Iterator
from dataclasses import fields

from sidecar.neutral.request import (
    ChatRequest,
    Document,
    Loss,
    Message,
    Opaque,
    Part,
    Role,
    Sampling,
    Severity,
    Thinking,
    Tool,
    ToolResult,
)
from sidecar.neutral.turns import regrouped
from sidecar.wire import json, splice
from sidecar.wire.contract import (
    Encoded,
    Operation,
    RequestFacts,
    RequestLimits,
    RequestPatch,
    Target,
)
from sidecar.wire.facts import check_body, check_messages, check_model, check_stream
from sidecar.wire.fields import Fields, refused
from sidecar.wire.json import Json
from sidecar.wire.signature import is_signed_by
from tests.toy.pieces import NAME, read, written

_BY = {
    "rules": Role.SYSTEM,
    "user": Role.USER,
    "model": Role.ASSISTANT,
}
_ROLE = {role: by for by, role in _BY.items()} | {Role.DEVELOPER: "rules"}
_LOST = {
    "tool_choice": Severity.SEMANTIC,
    "parallel_tool_calls": Severity.SEMANTIC,
    "response_format": Severity.SEMANTIC,
    "reasoning_effort": Severity.COSMETIC,
    "user": Severity.COSMETIC,
    "verbosity": Severity.COSMETIC,
    "service_tier": Severity.COSMETIC,
}
_FIELDS = {"response_format": "output", "reasoning_effort": "reasoning"}
_KNOWN = ("model", "stream", "turns", "tools", "longest", "heat", "until")


def facts(operation: Operation, body: object, limits: RequestLimits) -> RequestFacts:
    """What routing needs of a parsed body. Raises RequestRefused."""
    told = check_body(body)
    if operation is Operation.CHAT:
        check_messages("turns", told.get("turns"), limits)
    return RequestFacts(operation, check_model(told), check_stream(told), wants_usage=True)


def patch(raw: bytes, wanted: RequestPatch) -> bytes:
    """The request with another model name; every other byte as it was."""
    if wanted.model is None:
        return raw
    name = json.dumps(wanted.model)
    found = [one for one in splice.members(raw) if one.key == "model"]
    edits = [splice.Edit(one.start, one.end, name) for one in found]
    return splice.apply(raw, edits or [splice.insertion(raw, b'"model":' + name)])


def decode_request(operation: Operation, body: Json) -> ChatRequest:
    """A client's request. Raises RequestRefused."""
    told = Fields(body)
    return ChatRequest(
        messages=tuple(_turn(turn) for turn in told.objects("turns")),
        model=told.text("model"),
        stream=told.truth("stream") or False,
        tools=tuple(
            Tool(tool.needed_text("name"), tool.text("about"), tool.mapping("takes") or {})
            for tool in told.objects("tools")
        ),
        sampling=Sampling(temperature=told.number("heat")),
        max_tokens=told.whole("longest"),
        stop=told.texts("until"),
        unheard=tuple(Loss(name, Severity.SEMANTIC) for name in body if name not in _KNOWN),
    )


def _turn(turn: Fields) -> Message:
    by = turn.needed_text("by")
    if by not in _BY:
        path = turn.place("by")
        raise refused(f"`{path}` is {by!r}; rules, user or model was expected.", path)
    return Message(_BY[by], tuple(read(piece) for piece in turn.objects("say")))


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """The request for a backend."""
    body = {
        "model": target.model,
        "stream": target.stream,
        "turns": [
            {"by": _ROLE[turn.role], "say": [*filter(None, map(_piece, turn.parts))]}
            for turn in regrouped(request.messages)
        ],
        "tools": [
            {"name": tool.name, "about": tool.description, "takes": tool.schema}
            for tool in request.tools
            if isinstance(tool, Tool)
        ],
        "longest": request.max_tokens,
        "heat": request.sampling.temperature,
        "until": request.stop,
    }
    heard = {name: value for name, value in body.items() if value not in (None, [], ())}
    return Encoded(heard, tuple(dict.fromkeys(_losses(request))))


def _piece(part: Part) -> Json | None:
    if isinstance(part, Thinking) and not is_signed_by(part, NAME):
        return None
    return written(part)


def _losses(request: ChatRequest) -> Iterator[Loss]:
    for name, severity in _LOST.items():
        if getattr(request, _FIELDS.get(name, name)) is not None:
            yield Loss(name, severity)
    for one in fields(request.sampling):
        if one.name != "temperature" and getattr(request.sampling, one.name) is not None:
            yield Loss(one.name, Severity.COSMETIC)
    for tool in request.tools:
        if isinstance(tool, Opaque):
            yield Loss(tool.kind, Severity.SEMANTIC)
        elif tool.cache is not None:
            yield Loss("cache_control", Severity.COSMETIC)
    for message in request.messages:
        for part in message.parts:
            yield from _part_losses(part)


def _part_losses(part: Part) -> Iterator[Loss]:
    if isinstance(part, ToolResult):
        for one in part.content:
            yield from _part_losses(one)
    if isinstance(part, Thinking) and not is_signed_by(part, NAME):
        yield Loss("thinking", Severity.COSMETIC)
    if isinstance(part, Document):
        reason = "A backend of the toy dialect reads no documents; send their text."
        yield Loss("documents", Severity.FATAL, reason)
    if isinstance(part, Opaque):
        yield Loss(part.kind, Severity.SEMANTIC)
    if getattr(part, "cache", None) is not None:
        yield Loss("cache_control", Severity.COSMETIC)
