"""The items that requests and answers are made of, and what they are in the neutral form.

Encrypted reasoning is all that a signature is: the vendor takes it back without the id of its item
(Codex never sends one, the Agents SDK can leave it out) and looks for nothing under another id.
"""

from sidecar.dialects.openai_responses.namespaces import Origin
from sidecar.neutral.request import Thinking, ToolCall
from sidecar.wire.arguments import free_text
from sidecar.wire.json import Json
from sidecar.wire.loose import objects_in, text_in
from sidecar.wire.signature import unwrapped, wrapped

NAME = "openai-responses"
ENCRYPTED = "reasoning.encrypted_content"  # what `include` asks for


# --- reasoning ------------------------------------------------------------------------------------


def thinking_of(item: Json) -> Thinking | None:
    """What a reasoning item holds; None where that is nothing.

    Its text is the summary, or else the reasoning itself, which open models tell.
    """
    told = objects_in(item, "summary") or objects_in(item, "content")
    signature, signed_by = unwrapped(text_in(item, "encrypted_content"), NAME)
    if not told and signature is None:
        return None
    text = "\n\n".join(text for one in told if (text := text_in(one, "text")))
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


def call_item(call: ToolCall, is_custom: bool, origin: Origin | None = None) -> dict[str, object]:
    """A call, without an id of its own; `origin` is the called tool's."""
    head = {"call_id": call.id, "name": call.name}
    if origin is not None:
        head |= {"name": origin[1], "namespace": origin[0]}
    if is_custom:
        return {"type": "custom_tool_call", **head, "input": free_text(call.arguments)}
    return {"type": "function_call", **head, "arguments": call.arguments or "{}"}


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
