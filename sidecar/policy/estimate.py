"""How many tokens a request holds, estimated from its parsed JSON in any dialect.

What a model reads as text is measured in bytes of UTF-8, which follow tokens more closely than
characters do across languages; keys and structure count, for tools and calls are read as JSON too.
Pictures and files count by their size and never as text. The tokens of a byte differ by model:
they are learnt elsewhere and come in as `ratio`.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from math import ceil

from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart
from sidecar.neutral.usage import Usage
from sidecar.wire.picture import dimensions

DEFAULT_RATIO = 0.25  # tokens of a byte of text, where nothing has been learnt
CHARACTERS_PER_TOKEN = 4  # of an answer

# https://docs.claude.com/en/docs/build-with-claude/vision: width * height / 750, and what would be
# more than some 1,600 tokens is scaled down. A picture that cannot be looked at counts as that.
PIXELS_PER_TOKEN = 750
PICTURE_TOKENS = 1600
BYTES_PER_TOKEN = 25  # of a PDF: a page of some 50 kB is read as some 2,000 tokens

MOST_VALUES = 200_000  # looked at in one body; what is behind them does not count
PICTURE_HEAD = 128 * 1024  # base64 characters in which a JPEG must tell its size
_STRUCTURE = 2  # bytes that a member costs beside its name and value
_SCALAR = 4  # bytes that a number, true, false or null costs: a token id is one token

# at the top of a body: what is for the backend and not for its model
_BOOKKEEPING = {"model", "metadata", "user", "safety_identifier", "prompt_cache_key", "options"}
_ENCRYPTED = {"redacted_thinking", "reasoning.encrypted"}  # parts whose `data` no model reads


@dataclass(frozen=True, slots=True)
class Measure:
    """The size of a request: bytes of text, and tokens that do not depend on the model's words."""

    units: int
    fixed: int = 0


def measure(body: Mapping[str, object]) -> Measure:
    """The size of a request's body."""
    units = fixed = 0
    room = MOST_VALUES
    waiting: list[object] = [
        {name: member for name, member in body.items() if name not in _BOOKKEEPING}
    ]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            units += _bytes(value)
        elif isinstance(value, dict):
            for name, member in islice(value.items(), room):
                room -= 1
                tokens = _attached(name, member, value)
                if tokens is not None:
                    fixed += tokens
                    continue
                units += _bytes(name) + _STRUCTURE
                waiting.append(member)
        elif isinstance(value, list):
            before = len(waiting)
            waiting.extend(islice(value, room))
            room -= len(waiting) - before
        else:
            units += _SCALAR
    return Measure(units, fixed)


def estimate(size: Measure, ratio: float) -> int:
    """The tokens of a request of that size."""
    return ceil(size.units * ratio) + size.fixed


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


# --- pictures and files ---------------------------------------------------------------------------


def _attached(name: str, member: object, holder: Mapping[str, object]) -> int | None:
    """The tokens of a member that is no text; None for one that is read as text."""
    match name, member:
        case (("signature" | "encrypted_content" | "cache_control"), _):
            return 0
        case "data", str() if holder.get("type") in _ENCRYPTED:
            return 0
        case "source", {"type": "base64", "data": str(data), **rest}:
            return _inline(str(rest.get("media_type")), data)
        case "source", {"type": "url", "url": str()}:
            return PICTURE_TOKENS
        case "image_url", str(url) | {"url": str(url)}:
            return _by_url(url)
        case "file_data", str(data):
            return _by_url(data) if data.startswith("data:") else _file(data)
        case "input_audio", {"data": str(data)}:
            return _file(data)
        case "images", list(images) if "role" in holder or "prompt" in holder:
            return sum(_picture(data) for data in images if isinstance(data, str))
        case _:
            return None


def _by_url(url: str) -> int:
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:")):
        return PICTURE_TOKENS
    return _inline(head.removeprefix("data:"), data)


def _inline(kind: str, data: str) -> int:
    return _picture(data) if kind.startswith("image/") else _file(data)


def _picture(data: str) -> int:
    head = data[:PICTURE_HEAD]
    try:
        size = dimensions(base64.b64decode(head[: len(head) // 4 * 4]))
    except (binascii.Error, ValueError):
        size = None
    if size is None:
        return PICTURE_TOKENS
    return min(PICTURE_TOKENS, ceil(size[0] * size[1] / PIXELS_PER_TOKEN))


def _file(data: str) -> int:
    return ceil(len(data) * 3 / 4 / BYTES_PER_TOKEN)


# --- answers --------------------------------------------------------------------------------------


def characters(parts: Iterable[AnswerPart]) -> int:
    """The characters that a model wrote."""
    total = 0
    for part in parts:
        match part:
            case Text() | Refusal() | Thinking():
                total += len(part.text)
            case ToolCall():
                total += len(part.name) + len(part.arguments)
            case Opaque():
                pass
    return total


def estimated_usage(input_tokens: int, output_characters: int) -> Usage:
    """The usage of an answer whose backend never told it."""
    output_tokens = ceil(output_characters / CHARACTERS_PER_TOKEN)
    return Usage(input_tokens, output_tokens, is_estimated=True)
