"""The little model behind the strict backends: what it says follows from what it is asked.

It repeats what reached it, so that a test can tell from the answer what came through: the prompt of
the system, the user's words, the kind and size of pictures, the results of tools. The model's name
picks what a request cannot ask for: `parallel` calls every tool at once, `thinking` can think,
`length` runs out of tokens. Who asks for JSON in words gets JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.fakes.strict.shapes import Json, Refused, part

STOP_WORD = "END"  # stands in every text; a request that names it as a stop sequence gets less
THOUGHT = "Sie fragen höflich. I answer politely."
INPUT, CACHED, WRITTEN = 100, 40, 10  # tokens; the cached ones are part of the input
OUTPUT, REASONED = 20, 8  # the reasoning is part of the output


@dataclass(frozen=True)
class Picture:
    """An image or a document as it reached the backend.

    `size` is in bytes, None for one at an address.
    """

    kind: str
    size: int | None


@dataclass(frozen=True)
class Asked:
    """A request that has been checked, in nobody's dialect."""

    model: str
    text: str  # the user's last words
    system: str = ""
    pictures: Sequence[Picture] = ()
    tools: Mapping[str, Json] = field(default_factory=dict)  # name: schema of its arguments
    must_call: str | None = None  # the tool that has to be called
    results: Sequence[tuple[str, str]] = ()  # name of the tool, what it said; only at the end
    thinks: bool = False
    schema: Json | None = None
    as_json: bool = False
    stops: Sequence[str] = ()


@dataclass(frozen=True)
class Call:
    """A tool call; its id has no prefix."""

    id: str
    name: str
    arguments: Json


@dataclass(frozen=True)
class Said:
    """An answer. `matched` is the stop sequence that ended it."""

    model: str
    text: str
    thinking: str | None = None
    calls: Sequence[Call] = ()
    matched: str | None = None
    is_short: bool = False  # it ran out of tokens


def scenario(model: str) -> str:
    """What a model's name picks: the part behind the last colon."""
    return model.rpartition(":")[2]


def can_think(model: str) -> bool:
    return scenario(model) == "thinking"


def usual(who: str, system: str, text: str) -> str:
    """The text of an answer to which nothing special led."""
    return f"{who} heard «{text}» as «{system}». Grüezi, one two {STOP_WORD} three."


def described(pictures: Sequence[Picture]) -> str:
    return " and ".join(
        f"{each.kind} at an address" if each.size is None else f"{each.kind} of {each.size} bytes"
        for each in pictures
    )


def answer(who: str, asked: Asked) -> Said:
    """What the model says. `who` is the vendor, so that a text tells who wrote it."""
    thinking = THOUGHT if asked.thinks else None
    if asked.tools and not asked.results:
        return Said(asked.model, "", thinking, _calls(asked))
    if asked.results:
        text = f"{who} got " + "; ".join(f"{name}: {said}" for name, said in asked.results)
        if asked.pictures:
            text += f" and sees {described(asked.pictures)}"
    elif asked.pictures:
        text = f"{who} sees {described(asked.pictures)}"
    elif asked.schema is not None:
        text = json.dumps(sample(asked.schema), ensure_ascii=False)
    elif asked.as_json or "JSON" in asked.system + asked.text:
        text = json.dumps({"who": who})
    else:
        text = usual(who, asked.system, asked.text)
    found = [stop for stop in asked.stops if stop in text]
    matched = min(found, key=text.index, default=None)
    if matched is not None:
        text = text[: text.index(matched)]
    is_short = scenario(asked.model) == "length"
    return Said(asked.model, text, thinking, matched=matched, is_short=is_short)


def _calls(asked: Asked) -> Sequence[Call]:
    names = list(asked.tools)
    if asked.must_call is not None:
        names = [asked.must_call]
    elif scenario(asked.model) != "parallel":
        names = names[:1]
    return [
        Call(f"{number}{scenario(asked.model)}", name, part(sample(asked.tools[name])))
        for number, name in enumerate(names, 1)
    ]


def sample(schema: Json) -> object:
    """A value of a JSON schema."""
    match schema.get("type"):
        case "object":
            properties = part(schema.get("properties"))
            return {name: sample(part(each)) for name, each in properties.items()}
        case "integer" | "number":
            return 21
        case "boolean":
            return True
        case "array":
            return [sample(part(schema.get("items")))]
        case _:
            return "Zürich"


def pieces(text: str) -> Sequence[str]:
    """A text as a stream delivers it: a word at a time."""
    words = text.split(" ")
    return [word + " " * (place < len(words) - 1) for place, word in enumerate(words)]


def halves(text: str) -> Sequence[str]:
    """JSON as a stream delivers it."""
    return [text[: len(text) // 2], text[len(text) // 2 :]]


# --- signatures -------------------------------------------------------------------------------


def signature(who: str, thinking: str) -> str:
    """What proves to a vendor that the thinking is its own."""
    digest = hashlib.sha256(f"{who}:{thinking}".encode()).digest()
    return base64.b64encode(b"\x12" + digest).decode()


def decoded(data: object, at: str) -> bytes:
    """The bytes of a base64 text. Raises Refused."""
    try:
        return base64.b64decode(str(data), validate=True)
    except ValueError:
        raise Refused(at, "Invalid base64 data") from None


KINDS = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"%PDF": "application/pdf",
}


def picture(data: object, told: str | None, at: str) -> Picture:
    """A file in base64. Raises Refused where it is none, or of another kind than was told."""
    raw = decoded(data, at)
    kind = next((name for start, name in KINDS.items() if raw.startswith(start)), None)
    if kind is None or told not in (None, kind):
        raise Refused(at, f"Could not process file: told {told}, found {kind}")
    return Picture(kind, len(raw))


def bare(data: object, at: str) -> Picture:
    """A file in base64 whose kind nobody tells. Raises Refused."""
    return picture(data, None, at)


def data_uri(url: object, at: str) -> Picture:
    """A file at an address: data or https. Raises Refused."""
    head, comma, data = str(url).partition(",")
    if str(url).startswith("data:"):
        if not comma or not head.endswith(";base64"):
            raise Refused(at, "Invalid data URL")
        return picture(data, head.removeprefix("data:").removesuffix(";base64"), at)
    if not str(url).startswith(("https://", "http://")):
        raise Refused(at, "Invalid image URL: expected an http(s) or a data URL")
    return Picture("image", None)
