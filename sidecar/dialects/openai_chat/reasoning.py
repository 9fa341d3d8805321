"""Reasoning in messages and deltas: the fields in which vendors tell it, with its signatures.

reasoning_content: text      DeepSeek, Qwen, vLLM, llama.cpp and most others
reasoning: text              OpenRouter, Groq, Ollama, newer vLLM
reasoning_details: [...]     OpenRouter; the one with a place for signatures, so ours too
thinking_blocks: [...]       LiteLLM
content: [{type: thinking}]  Mistral
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sidecar.neutral.request import Text, Thinking
from sidecar.wire.json import Json
from sidecar.wire.signature import unwrapped, wrapped

DIALECT = "openai"


def told_text(told: Json) -> str:
    """The reasoning that a message or delta tells as plain text."""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(text := told.get(name), str) and text:
            return text
    return ""


def told_blocks(told: Json) -> list[Thinking]:
    """The reasoning that a message or delta tells in blocks, signatures and all."""
    blocks = [_detail(one) for one in _objects(told.get("reasoning_details"))]
    if not blocks:
        blocks = [_block(one) for one in _objects(told.get("thinking_blocks"))]
    return [one for one in blocks if one.text or one.signature]


def thinking_of(message: Json) -> list[Thinking]:
    """The reasoning of a whole message; blocks usually tell the plain text once more."""
    text, blocks = told_text(message), told_blocks(message)
    if not text or any(one.text for one in blocks):
        return blocks
    for place, one in enumerate(blocks):
        if not one.redacted:
            blocks[place] = replace(one, text=text)
            return blocks
    return [Thinking(text), *blocks]


def spoken(content: object) -> Iterator[Text | Thinking]:
    """What the content of an answer says: a text, or a list of parts."""
    if isinstance(content, str) and content:
        yield Text(content)
    for part in _objects(content):
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            texts = [inner] if isinstance(inner, str) else [_text(one) for one in _objects(inner)]
            if joined := "".join(texts):
                yield Thinking(joined)
        elif text := _text(part):
            yield Text(text)


def details(parts: Iterable[Thinking]) -> list[Json]:
    """The entries of `reasoning_details` for reasoning that is signed."""
    signed = [one for one in parts if one.signature is not None]
    return [detail(one, place) for place, one in enumerate(signed)]


def detail(part: Thinking, place: int) -> Json:
    """One entry of `reasoning_details`."""
    signature = wrapped(part.signature, part.signed_by, DIALECT)
    if part.redacted:
        return {"type": "reasoning.encrypted", "data": signature, "index": place}
    return {
        "type": "reasoning.text",
        "text": part.text,
        "signature": signature,
        "index": place,
    }


def _detail(told: Json) -> Thinking:
    if told.get("type") == "reasoning.encrypted":
        return _sealed(told)
    text = _text(told, "summary" if told.get("type") == "reasoning.summary" else "text")
    return Thinking(text, *unwrapped(_text(told, "signature"), DIALECT))


def _block(told: Json) -> Thinking:
    if told.get("type") == "redacted_thinking":
        return _sealed(told)
    return Thinking(_text(told, "thinking"), *unwrapped(_text(told, "signature"), DIALECT))


def _sealed(told: Json) -> Thinking:
    return Thinking("", *unwrapped(_text(told, "data"), DIALECT), redacted=True)


def _text(told: Json, name: str = "text") -> str:
    text = told.get(name)
    return text if isinstance(text, str) else ""


def _objects(told: object) -> list[Json]:
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
