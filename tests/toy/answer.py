"""Whole answers: {"id", "model", "say": [piece], "ended", "until", "spent": [in, out]}."""

from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.neutral.request import ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import AnswerContext, Operation
from sidecar.wire.fields import Fields
from sidecar.wire.json import Json
from tests.toy.errors import disguised
from tests.toy.pieces import read_answer, written


def judge(operation: Operation, body: object) -> Problem | None:
    """What is wrong with the body of a 200; None where it is an answer."""
    if not isinstance(body, dict):
        return Problem(ProblemKind.PROTOCOL, "answered JSON that is not an object")
    if problem := disguised(body):
        return problem
    if not isinstance(body.get("say"), list):
        return Problem(ProblemKind.PROTOCOL, "answered an object without `say`")
    return None


def usage(body: Json) -> Usage | None:
    """The tokens that an answer reports."""
    return spent(body.get("spent"))


def spent(told: object) -> Usage | None:
    """The tokens in [in, out]."""
    match told:
        case [int(given), int(made)]:
            return Usage(max(given, 0), max(made, 0))
        case _:
            return None


def decode_response(body: Json, context: AnswerContext) -> ChatResponse:
    """An answer that was judged; what it says in unknown words is left out."""
    said = body.get("say")
    read = [_known(piece) for piece in said] if isinstance(said, list) else []
    parts = tuple(part for part in read if part is not None)
    return ChatResponse(
        parts,
        stop(body.get("ended"), is_calling=any(isinstance(part, ToolCall) for part in parts)),
        _text(body.get("until")) or None,
        usage(body),
        _text(body.get("id")),
        _text(body.get("model")) or context.model,
    )


def _known(piece: object) -> AnswerPart | None:
    try:
        return read_answer(Fields(piece)) if isinstance(piece, dict) else None
    except RequestRefused:
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def stop(ended: object, *, is_calling: bool) -> StopReason:
    """Why a model stopped."""
    if is_calling:
        return StopReason.TOOL_CALLS
    return next((reason for reason in StopReason if reason.value == ended), StopReason.END)


def encode_response(answer: ChatResponse, context: AnswerContext) -> Json:
    """An answer for a client."""
    told = answer.usage
    return {
        "id": answer.id or f"toy-{context.new_id()}",
        "model": answer.model or context.model,
        "say": [*filter(None, map(written, answer.parts))],
        "ended": answer.stop.value,
        "until": answer.stop_sequence,
        "spent": [told.input_tokens, told.output_tokens] if told else None,
    }
