"""A neutral answer → the whole answer that clients get, and what streams share with it."""

from collections.abc import Sequence

from sidecar.dialects.openai_chat.reasoning import details
from sidecar.neutral.request import Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.arguments import custom_tools, free_text, is_custom
from sidecar.wire.contract import AnswerContext, Operation
from sidecar.wire.json import Json

_REASONS = {
    StopReason.END: "stop",
    StopReason.STOP_SEQUENCE: "stop",
    StopReason.MAX_TOKENS: "length",
    StopReason.TOOL_CALLS: "tool_calls",
    StopReason.REFUSAL: "content_filter",
    StopReason.PAUSE: "stop",
    StopReason.LOADED: "stop",
}


def encode_response(answer: ChatResponse, context: AnswerContext) -> Json:
    """The answer as `chat.completion`, or as `text_completion` where a prompt was completed."""
    completes = context.facts.operation is Operation.COMPLETION
    said = {"text": _text(answer.parts)} if completes else {"message": _message(answer, context)}
    body = {
        **head(answer.id, answer.model, context),
        "object": "text_completion" if completes else "chat.completion",
        "choices": [{"index": 0, **said, "logprobs": None, **ending(answer, context)}],
    }
    return body if answer.usage is None else {**body, "usage": usage_fields(answer.usage)}


def head(id: str, model: str, context: AnswerContext) -> dict[str, object]:
    """What an answer and every chunk of it begin with."""
    prefix = "cmpl-" if context.facts.operation is Operation.COMPLETION else "chatcmpl-"
    return {
        "id": id if id.startswith(prefix) else prefix + context.new_id(),
        "created": context.created,
        "model": model or context.model,
    }


def ending(answer: ChatResponse, context: AnswerContext) -> Json:
    """Why a choice ended; the stop sequence that it met stands where vLLM tells it."""
    reason = _REASONS[answer.stop]
    if answer.stop is StopReason.TOOL_CALLS and context.facts.old_calls:
        reason = "function_call"
    if answer.stop_sequence is None:
        return {"finish_reason": reason}
    return {"finish_reason": reason, "stop_reason": answer.stop_sequence}


def usage_fields(usage: Usage) -> Json:
    """Usage as OpenAI tells it; parts that are nothing are left out."""
    read = {
        "cached_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_input_tokens,
    }
    details = {name: count for name, count in read.items() if count}
    fields: dict[str, object] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if details:
        fields["prompt_tokens_details"] = details
    if usage.reasoning_output_tokens:
        fields["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_output_tokens}
    return fields


def _message(answer: ChatResponse, context: AnswerContext) -> Json:
    thoughts = [part for part in answer.parts if isinstance(part, Thinking)]
    refusal = "".join(part.text for part in answer.parts if isinstance(part, Refusal))
    calls = [part for part in answer.parts if isinstance(part, ToolCall)]
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    message: dict[str, object] = {
        "role": "assistant",
        "content": None if not text and (calls or refusal) else text,
        "refusal": refusal or None,
    }
    if told := "".join(part.text for part in thoughts):
        message["reasoning_content"] = told
    if signed := details(thoughts):
        message["reasoning_details"] = signed
    if calls and context.facts.old_calls:
        message["function_call"] = _function(calls[0])
    elif calls:
        custom = custom_tools(context.request.tools)
        message["tool_calls"] = [_call(call, is_custom(call, custom)) for call in calls]
    return message


def _text(parts: Sequence[AnswerPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text | Refusal))


def _call(call: ToolCall, takes_text: bool) -> Json:
    if takes_text:
        custom = {"name": call.name, "input": free_text(call.arguments)}
        return {"id": call.id, "type": "custom", "custom": custom}
    return {"id": call.id, "type": "function", "function": _function(call)}


def _function(call: ToolCall) -> Json:
    return {"name": call.name, "arguments": call.arguments or "{}"}
