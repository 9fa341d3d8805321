"""Checks of a request that every dialect makes before it is routed.

They read no more than routing needs and refuse with the words of what was found.
"""

from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.wire.contract import RequestLimits
from sidecar.wire.fields import kind, refused
from sidecar.wire.json import Json

LONGEST_NAME = 256  # characters of a model's name; it stands in logs and is compared with others


def check_body(body: object) -> Json:
    """The body of a request, which must be an object."""
    if isinstance(body, dict):
        return body
    raise RequestRefused(
        Problem(
            ProblemKind.BAD_REQUEST,
            f"The request body is {kind(body)}; a JSON object was expected.",
            code="not_an_object",
        )
    )


def check_model(body: Json, name: str = "model") -> str | None:
    """The model that is asked for; None where the client leaves the choice to us."""
    model = body.get(name)
    if model is not None and not isinstance(model, str):
        told = f"`{name}` is {kind(model)}; the name of a model was expected."
        raise refused(told, name, "invalid_model")
    if isinstance(model, str) and len(model) > LONGEST_NAME:
        told = (
            f"`{name}` has {len(model)} characters; a name of at most {LONGEST_NAME} was expected."
        )
        raise refused(told, name, "invalid_model")
    return model or None


def check_stream(body: Json, default: bool = False) -> bool:
    """Whether a stream is asked for; `default` is what the dialect does unasked."""
    stream = body.get("stream")
    if stream is None:
        return default
    if not isinstance(stream, bool):
        told = f"`stream` is {kind(stream)}; true or false was expected."
        raise refused(told, "stream", "invalid_stream")
    return stream


def check_messages(name: str, value: object, limits: RequestLimits) -> None:
    """The member `name` of a body must be a list of objects within the limits, and not empty."""
    if value is None or value == []:
        raise refused(
            f"`{name}` is missing or empty; send at least one message, such as "
            '{"role": "user", "content": "Hello"}.',
            name,
            f"empty_{name}",
        )
    if not isinstance(value, list):
        told = f"`{name}` is {kind(value)}; a list of messages was expected."
        raise refused(told, name, f"invalid_{name}")
    if len(value) > limits.messages:
        raise refused(
            f"`{name}` holds {len(value)} messages; at most {limits.messages} are taken. "
            "Drop or summarise the oldest ones.",
            name,
            "too_many_messages",
        )
    size = 0
    for place, message in enumerate(value):
        where = f"{name}[{place}]"
        if not isinstance(message, dict):
            raise refused(
                f"`{where}` is {kind(message)}; an object with `role` and `content` was expected.",
                where,
                f"invalid_{name}",
            )
        size += size_of(message.get("content"))
        if size > limits.content:
            raise too_large(
                f"The content of `{name}` is larger than {limits.content} bytes (passed at "
                f"{where}). Shorten the history or send smaller attachments.",
                f"{where}.content",
            )


def too_large(message: str, param: str) -> RequestRefused:
    """The refusal of content past the limit."""
    kind, code = ProblemKind.TOO_LARGE, "content_too_large"
    return RequestRefused(Problem(kind, message, code=code, param=param))


def size_of(content: object) -> int:
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
