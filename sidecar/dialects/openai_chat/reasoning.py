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
from sidecar.wire.loose import objects_in, text_in
from sidecar.wire.signature import unwrapped, wrapped

NAME = "openai"


def told_text(told: Json) -> str:
    """The reasoning that a message or delta tells as plain text."""
    return text_in(told, "reasoning_content") or text_in(told, "reasoning")


def told_blocks(told: Json) -> list[Thinking]:
    """The reasoning that a message or delta tells in blocks, signatures and all."""
    blocks = [_detail(one) for one in objects_in(told, "reasoning_details")]
    if not blocks:
        blocks = [_block(one) for one in objects_in(told, "thinking_blocks")]
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


def spoken(told: Json) -> Iterator[Text | Thinking]:
    """What a message or delta says: its content is a text, or a list of parts."""
    if text := text_in(told, "content"):
        yield Text(text)
    for part in objects_in(told, "content"):
        if part.get("type") == "thinking":
            texts = [text_in(one, "text") for one in objects_in(part, "thinking")]
            if joined := text_in(part, "thinking") or "".join(texts):
                yield Thinking(joined)
        elif text := text_in(part, "text"):
            yield Text(text)


def details(parts: Iterable[Thinking]) -> list[Json]:
    """The entries of `reasoning_details` for reasoning that is signed."""
    signed = [one for one in parts if one.signature is not None]
    return [detail(one, place) for place, one in enumerate(signed)]


def detail(part: Thinking, place: int) -> Json:
    """One entry of `reasoning_details`."""
    signature = wrapped(part.signature, part.signed_by, NAME)
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
    text = text_in(told, "summary" if told.get("type") == "reasoning.summary" else "text")
    return Thinking(text, *unwrapped(text_in(told, "signature"), NAME))


def _block(told: Json) -> Thinking:
    if told.get("type") == "redacted_thinking":
        return _sealed(told)
    return Thinking(text_in(told, "thinking"), *unwrapped(text_in(told, "signature"), NAME))


def _sealed(told: Json) -> Thinking:
    return Thinking("", *unwrapped(text_in(told, "data"), NAME), redacted=True)
