"""Reading a request far enough to route it, and splicing what must change."""

from collections.abc import Mapping

from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.wire import json, splice
from sidecar.wire.contract import Operation, RequestFacts, RequestLimits, RequestPatch

LONGEST_NAME = 256  # characters of a model's name; it stands in logs and is compared with others
_ASK = b'"include_usage":true'


def facts(operation: Operation, body: object, limits: RequestLimits) -> RequestFacts:
    """What routing needs of a parsed body. Raises RequestRefused that names the field."""
    if not isinstance(body, dict):
        raise _refused(
            f"The request body is {_kind(body)}; a JSON object was expected.", "not_an_object"
        )
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise _refused(
            f"`model` is {_kind(model)}; the name of a model was expected.",
            "invalid_model",
            "model",
        )
    if isinstance(model, str) and len(model) > LONGEST_NAME:
        raise _refused(
            f"`model` has {len(model)} characters; a name of at most {LONGEST_NAME} was expected.",
            "invalid_model",
            "model",
        )
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _refused(
            f"`stream` is {_kind(stream)}; true or false was expected.", "invalid_stream", "stream"
        )
    if operation is Operation.CHAT:
        _check_messages(body.get("messages"), limits)
    if operation is Operation.EMBED and body.get("input") in (None, "", []):
        raise _refused(
            "`input` is missing or empty; a text or a list of texts was expected.",
            "empty_input",
            "input",
        )
    options = body.get("stream_options")
    return RequestFacts(
        operation=operation,
        model=model or None,
        stream=stream is True and operation is not Operation.EMBED,
        choices=_choices(body),
        wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _choices(body: Mapping[str, object]) -> int:
    """How many answers are asked for: `n` of them for each prompt."""
    count, prompts = body.get("n"), body.get("prompt")
    texts = 1
    if isinstance(prompts, list) and prompts and not isinstance(prompts[0], int):
        texts = len(prompts)  # a list of numbers is one prompt, in tokens
    return max(1, count if isinstance(count, int) else 1) * texts


def _check_messages(messages: object, limits: RequestLimits) -> None:
    if messages is None or messages == []:
        raise _refused(
            "`messages` is missing or empty; send at least one message, such as "
            '{"role": "user", "content": "Hello"}.',
            "empty_messages",
            "messages",
        )
    if not isinstance(messages, list):
        raise _refused(
            f"`messages` is {_kind(messages)}; a list of messages was expected.",
            "invalid_messages",
            "messages",
        )
    if len(messages) > limits.messages:
        raise _refused(
            f"`messages` holds {len(messages)} messages; at most {limits.messages} are taken. "
            "Drop or summarise the oldest ones.",
            "too_many_messages",
            "messages",
        )
    size = 0
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _refused(
                f"`messages[{place}]` is {_kind(message)}; an object with `role` and `content` "
                "was expected.",
                "invalid_messages",
                f"messages[{place}]",
            )
        size += _size(message.get("content"))
        if size > limits.content:
            raise RequestRefused(
                Problem(
                    ProblemKind.TOO_LARGE,
                    f"The content of `messages` is larger than {limits.content} bytes (passed at "
                    f"messages[{place}]). Shorten the history or send smaller attachments.",
                    code="content_too_large",
                    param=f"messages[{place}].content",
                )
            )


def _size(content: object) -> int:
    """Bytes of all texts in a message's content, attachments included."""
    size, left = 0, [content]
    while left:  # no recursion: the client decides how deep it nests
        match left.pop():
            case str(text):
                ascii_only = text.isascii()
                size += len(text) if ascii_only else len(text.encode("utf-8", "surrogatepass"))
            case list(parts):
                left += parts
            case dict(named):
                left += named.values()
            case _:
                pass
    return size


def patch(raw: bytes, wanted: RequestPatch) -> bytes:
    """The request with another model name, or asking for usage; every other byte as it was."""
    if wanted.model is None and not wanted.ask_usage:
        return raw
    found = splice.members(raw)
    edits: list[splice.Edit] = []
    missing: list[bytes] = []
    if wanted.model is not None:
        name = json.dumps(wanted.model)
        spans = [one for one in found if one.key == "model"]
        edits += [splice.Edit(one.start, one.end, name) for one in spans]
        if not spans:
            missing.append(b'"model":' + name)
    if wanted.ask_usage:
        options = [one for one in found if one.key == "stream_options"]
        for one in options:
            edits += _asking(raw, one)
        if not options:
            missing.append(b'"stream_options":{' + _ASK + b"}")
    if missing:
        edits.append(splice.insertion(raw, b",".join(missing)))
    return splice.apply(raw, edits)


def _asking(raw: bytes, options: splice.Member) -> list[splice.Edit]:
    """The edits that make an existing `stream_options` ask for usage."""
    if raw[options.start : options.start + 1] != b"{":
        return [splice.Edit(options.start, options.end, b"{" + _ASK + b"}")]
    told = [one for one in splice.members(raw, options.start) if one.key == "include_usage"]
    edits = [splice.Edit(one.start, one.end, b"true") for one in told]
    return edits or [splice.insertion(raw, _ASK, options.start)]


def _refused(message: str, code: str, param: str | None = None) -> RequestRefused:
    return RequestRefused(Problem(ProblemKind.BAD_REQUEST, message, code=code, param=param))


def _kind(value: object) -> str:
    """What a JSON value is, for people."""
    names = {
        type(None): "null",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names[type(value)]
