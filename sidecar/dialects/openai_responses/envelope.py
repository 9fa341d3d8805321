"""The response object around what a model says. It repeats what was asked, as the vendor's does."""

from collections.abc import Sequence

from sidecar.dialects.openai_responses import settings
from sidecar.neutral.request import ChatRequest, Role, Text
from sidecar.neutral.response import StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import AnswerContext
from sidecar.wire.json import Json
from sidecar.wire.loose import objects_in


def opened(ctx: AnswerContext, id: str, model: str) -> Json:
    """A response that is under way; `id` and `model` are the backend's, empty where unsaid."""
    request = ctx.request
    asked = request.reasoning
    reasoning = {} if asked is None else settings.reasoning(asked)
    return {
        "id": id if id.startswith("resp_") else f"resp_{ctx.new_id()}",
        "object": "response",
        "created_at": ctx.created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": _instructions(request),
        "max_output_tokens": request.max_tokens,
        "max_tool_calls": None,
        "metadata": {},
        "model": model or ctx.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **reasoning},
        "safety_identifier": request.user,
        "service_tier": "default",
        "store": False,
        "temperature": request.sampling.temperature,
        "text": {"format": {"type": "text"}, **settings.text(request)},
        "tool_choice": settings.tool_choice(request),
        "tools": settings.tools(request),
        "top_logprobs": 0,
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def _instructions(request: ChatRequest) -> str | None:
    first = request.messages[0] if request.messages else None
    if first is None or first.role is not Role.SYSTEM:
        return None
    return "\n\n".join(part.text for part in first.parts if isinstance(part, Text))


def closed(
    response: Json,
    output: Sequence[Json],
    stop: StopReason,
    usage: Usage | None,
    ctx: AnswerContext,
) -> Json:
    """The same response when it has come to its end."""
    ended = {**response, "output": list(output), "usage": usage and _usage(usage)}
    if reason := _why_incomplete(stop, output):
        return {**ended, "status": "incomplete", "incomplete_details": {"reason": reason}}
    return {**ended, "status": "completed", "completed_at": int(ctx.created + ctx.elapsed())}


def _why_incomplete(stop: StopReason, output: Sequence[Json]) -> str | None:
    match stop:
        case StopReason.MAX_TOKENS:
            return "max_output_tokens"
        case StopReason.REFUSAL if not any(map(_refuses, output)):
            return "content_filter"
        case _:  # there are no words for a stop sequence or a pause
            return None


def _refuses(item: Json) -> bool:
    """Whether an item tells the refusal itself; then the response counts as completed."""
    return any(part.get("type") == "refusal" for part in objects_in(item, "content"))


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_input_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_output_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
