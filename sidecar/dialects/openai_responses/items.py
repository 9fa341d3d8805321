"""The items that requests and answers are made of, and what they are in the neutral form.

Encrypted reasoning is all that a signature is: the vendor takes it back without the id of its item
(Codex never sends one, the Agents SDK can leave it out) and looks for nothing under another id.
"""

from collections.abc import Collection

from sidecar.neutral.request import Thinking, ToolCall
from sidecar.wire import json
from sidecar.wire.json import Json
from sidecar.wire.signature import unwrapped, wrapped

NAME = "openai-responses"
ENCRYPTED = "reasoning.encrypted_content"  # what `include` asks for


def text_of(part: Json, name: str = "text") -> str:
    """A text in what a backend sent; empty where there is none."""
    text = part.get(name)
    return text if isinstance(text, str) else ""


def objects_in(item: Json, name: str) -> list[Json]:
    """The objects of a list in what a backend sent."""
    told = item.get(name)
    return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []


# --- reasoning ------------------------------------------------------------------------------------


def thinking_of(item: Json) -> Thinking | None:
    """What a reasoning item holds; None where that is nothing.

    Its text is the summary, or else the reasoning itself, which open models tell.
    """
    told = objects_in(item, "summary") or objects_in(item, "content")
    signature, signed_by = unwrapped(text_of(item, "encrypted_content"), NAME)
    if not told and signature is None:
        return None
    text = "\n\n".join(filter(None, map(text_of, told)))
    return Thinking(text, signature, signed_by, redacted=not told)


def reasoning_item(part: Thinking, id: str) -> dict[str, object]:
    """Reasoning as a client keeps it.

    A summary without parts tells redacted reasoning from one whose text is empty.
    """
    return {
        "id": id,
        "type": "reasoning",
        "summary": [] if part.redacted else [{"type": "summary_text", "text": part.text}],
        "encrypted_content": wrapped(part.signature, part.signed_by, NAME),
    }


def signed_item(signature: str, text: str) -> Json:
    """Reasoning as the vendor that has signed it takes it back."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"type": "reasoning", "summary": summary, "encrypted_content": signature}


# --- calls of tools -------------------------------------------------------------------------------


def call_item(call: ToolCall, is_custom: bool) -> dict[str, object]:
    """A call, without an id of its own."""
    head = {"call_id": call.id, "name": call.name}
    if is_custom:
        return {"type": "custom_tool_call", **head, "input": free_text(call.arguments)}
    return {"type": "function_call", **head, "arguments": call.arguments or "{}"}


def free_text(arguments: str) -> str:
    """What a custom tool is called with, out of arguments such as {"input": text}."""
    try:
        told = json.loads(arguments)
    except json.InvalidJson:
        return arguments
    if isinstance(told, dict) and isinstance(text := told.get("input"), str):
        return text
    return arguments


def as_arguments(text: str) -> str:
    """The arguments that stand for the free text of a custom tool."""
    return json.dumps({"input": text}).decode()


def is_custom(call: ToolCall, custom_tools: Collection[str]) -> bool:
    """Whether a call is one of a custom tool; other dialects do not say so."""
    return call.custom or call.name in custom_tools


# --- what is said ---------------------------------------------------------------------------------


def message_item(id: str, status: str, *content: Json) -> dict[str, object]:
    """A message of the model, as a client gets it."""
    head = {"id": id, "type": "message", "status": status, "role": "assistant"}
    return {**head, "content": list(content)}


def text_part(text: str) -> Json:
    """Text within such a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def refusal_part(text: str) -> Json:
    """A refusal within such a message."""
    return {"type": "refusal", "refusal": text}
