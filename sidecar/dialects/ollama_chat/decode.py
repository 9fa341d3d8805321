"""A client's request into the neutral form.

Fields mean what Ollama's own server takes them for:
https://github.com/ollama/ollama/blob/main/docs/api.md and its `api/types.go`.
"""

from sidecar.dialects.ollama_chat.conversation import decode_images, decode_messages
from sidecar.neutral.request import (
    ChatRequest,
    Effort,
    JsonOutput,
    Loss,
    Message,
    Part,
    Reasoning,
    Role,
    Sampling,
    Severity,
    Text,
    Tool,
)
from sidecar.wire.contract import Operation
from sidecar.wire.fields import Fields
from sidecar.wire.json import Json

_EFFORTS = {one.value: one for one in (Effort.LOW, Effort.MEDIUM, Effort.HIGH, Effort.MAX)}
# what only a backend that is asked in Ollama's own words could do
_UNTRANSLATABLE = {
    "raw": "`raw` sends a prompt without the model's template, which no other dialect can. Leave "
    "it out, or ask for a model that an Ollama backend serves.",
    "template": "`template` replaces the model's own template, which no other dialect can. Leave "
    "it out, or ask for a model that an Ollama backend serves.",
    "suffix": "`suffix` asks to fill in the middle of a text, which does not cross dialects. Leave "
    "it out, or ask for a model that an Ollama backend serves.",
    "context": "`context` is an earlier answer in tokens, which only the model that gave it can "
    "read. Send the conversation as `messages` to /api/chat.",
    "_debug_render_only": "`_debug_render_only` asks for the prompt that an Ollama server would "
    "make. Ask for a model that an Ollama backend serves.",
}


def decode_request(operation: Operation, body: Json) -> ChatRequest:
    """What a client asks of /api/chat or /api/generate. Raises RequestRefused.

    Without messages, or without a prompt, it only asks that the model be loaded.
    """
    fields, losses = Fields(body), list[Loss]()
    if operation is Operation.COMPLETION:
        messages = _prompt(fields, losses)
    else:
        messages = decode_messages(fields.objects("messages"), losses)
    options = fields.object("options") or Fields({})
    model, stream = fields.text("model"), fields.truth("stream")
    tools = tuple(map(_tool, fields.objects("tools")))
    output, reasoning = _output(fields), _reasoning(fields)
    sampling, max_tokens = _sampling(options), _max_tokens(options, losses)
    stop = tuple(one for one in options.texts("stop") if one)
    losses += _lost(fields)
    # how a model is loaded and run, and ways to draw tokens that nobody else has
    losses += [Loss(name, Severity.COSMETIC) for name in options.unread()]
    losses += [Loss(name, Severity.SEMANTIC) for name in fields.unread()]
    return ChatRequest(
        messages=messages,
        model=model or None,
        stream=stream is not False,
        tools=tools,
        output=output,
        reasoning=reasoning,
        sampling=sampling,
        max_tokens=max_tokens,
        stop=stop,
        unheard=tuple(losses),
    )


def _prompt(fields: Fields, losses: list[Loss]) -> tuple[Message, ...]:
    """A prompt as one turn of the user, behind the system prompt."""
    prompt, system = fields.text("prompt"), fields.text("system")
    images = decode_images(fields, losses)
    if not prompt:
        return ()
    parts: tuple[Part, ...] = (Text(prompt), *images)
    turn = Message(Role.USER, parts)
    return (Message(Role.SYSTEM, (Text(system),)), turn) if system else (turn,)


def _lost(fields: Fields) -> list[Loss]:
    """What is understood and cannot cross."""
    losses = [
        Loss(name, Severity.FATAL, reason)
        for name, reason in _UNTRANSLATABLE.items()
        if fields.raw(name)  # false and empty are the same as nothing said
    ]
    if fields.raw("keep_alive") is not None:
        losses.append(Loss("keep_alive", Severity.COSMETIC))
    # to cut a conversation that is too long: other backends refuse it
    losses += [
        Loss(name, Severity.COSMETIC) for name in ("truncate", "shift") if fields.truth(name)
    ]
    wants_odds = fields.truth("logprobs")
    if fields.whole("top_logprobs") or wants_odds:
        losses.append(Loss("logprobs", Severity.SEMANTIC))
    return losses


def _tool(fields: Fields) -> Tool:
    function = fields.object("function")
    if function is None:
        raise fields.wrong("function", "an object")
    return Tool(
        name=function.needed_text("name"),
        description=function.text("description") or None,
        schema=function.mapping("parameters") or {},
    )


def _output(fields: Fields) -> JsonOutput | None:
    match fields.raw("format"):
        case None | "":
            return None
        case "json":
            return JsonOutput()
        case dict(schema):
            return JsonOutput(schema=schema)
        case _:
            raise fields.wrong("format", '"json" or a JSON schema')


def _reasoning(fields: Fields) -> Reasoning | None:
    match fields.raw("think"):
        case None:
            return None
        case True:
            return Reasoning()
        case False:
            return Reasoning(Effort.NONE)
        case str(effort) if effort in _EFFORTS:
            return Reasoning(_EFFORTS[effort])
        case _:
            raise fields.wrong("think", 'true, false, "low", "medium", "high" or "max"')


def _sampling(options: Fields) -> Sampling:
    seed = options.whole("seed")
    return Sampling(
        temperature=options.number("temperature"),
        top_p=options.number("top_p"),
        top_k=options.whole("top_k"),
        min_p=options.number("min_p"),
        seed=None if seed == -1 else seed,  # -1 is the default: another one each time
        frequency_penalty=options.number("frequency_penalty"),
        presence_penalty=options.number("presence_penalty"),
        repeat_penalty=options.number("repeat_penalty"),
    )


def _max_tokens(options: Fields, losses: list[Loss]) -> int | None:
    """The bound of an answer; -1 and -2 are none."""
    bound = options.whole("num_predict")
    if bound == 0:
        reason = "`num_predict: 0` asks for no answer, only that the prompt be read. Ask for at "
        reason += "least one token, or for a model that an Ollama backend serves."
        losses.append(Loss("num_predict", Severity.FATAL, reason))
    return bound if bound is not None and bound > 0 else None
