"""What a request can say, one thing at a time, and which dialects cannot hold it.

The table is the declaration: an encoder names exactly what stands in it.
"""

import base64
from collections.abc import Mapping

from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Document,
    Effort,
    Image,
    Inline,
    JsonOutput,
    Message,
    Opaque,
    Part,
    Reasoning,
    Remote,
    Role,
    Sampling,
    Severity,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from tests.laws.strategies import SCHEMA

COSMETIC, SEMANTIC, FATAL = Severity.COSMETIC, Severity.SEMANTIC, Severity.FATAL

_ASKED = Message(Role.USER, (Text("Hello"),))
_TOOL = Tool("weather", "Tells it.", SCHEMA)
_OPTIONAL = {**SCHEMA, "required": ["city"]}
_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\x00" * 40).decode()
_PDF = base64.b64encode(b"%PDF-1.7\n" + b"x" * 40).decode()


def _said(*parts: Part) -> ChatRequest:
    return ChatRequest((Message(Role.USER, (Text("Look:"), *parts)),))


def _answered(*parts: Part) -> ChatRequest:
    return ChatRequest((_ASKED, Message(Role.ASSISTANT, (*parts, Text("Hi"))), _ASKED))


def _drawn(sampling: Sampling) -> ChatRequest:
    return ChatRequest((_ASKED,), sampling=sampling)


def _chosen(choice: ToolChoice) -> ChatRequest:
    return ChatRequest((_ASKED,), tools=(_TOOL,), tool_choice=choice)


_CALL = Message(Role.ASSISTANT, (ToolCall("call_1", "weather", "{}"),))
_MARKED = Text("much", cache={"type": "ephemeral"})
_SEEN = ToolResult("call_1", (Text("so"), Image(Inline("image/png", _PNG))))

SAYINGS: Mapping[str, ChatRequest] = {
    "words": ChatRequest((_ASKED,)),
    "a system prompt": ChatRequest((Message(Role.SYSTEM, (Text("Be brief."),)), _ASKED)),
    "a developer prompt": ChatRequest((Message(Role.DEVELOPER, (Text("Be brief."),)), _ASKED)),
    "a prompt in the middle": ChatRequest(
        (_ASKED, Message(Role.SYSTEM, (Text("Be brief."),)), _ASKED)
    ),
    "an image": _said(Image(Inline("image/png", _PNG))),
    "an image by address": _said(Image(Remote("https://example.com/a.png"))),
    "a document": _said(Document(Inline("application/pdf", _PDF), "a.pdf")),
    "a document by address": _said(Document(Remote("https://example.com/a.pdf"))),
    "a document as text": _said(Document("Once upon a time", "a.txt")),
    "a tool": ChatRequest((_ASKED,), tools=(_TOOL,)),
    "a strict tool": ChatRequest((_ASKED,), tools=(Tool("weather", None, SCHEMA, strict=True),)),
    "a strict tool with a choice": ChatRequest(
        (_ASKED,), tools=(Tool("weather", None, _OPTIONAL, strict=True),)
    ),
    "a tool in a namespace": ChatRequest(
        (_ASKED,), tools=(Tool("a__weather", None, SCHEMA, origin=("a", "weather")),)
    ),
    "a result with an image": ChatRequest((_ASKED, _CALL, Message(Role.USER, (_SEEN,)))),
    "a foreign tool": ChatRequest((_ASKED,), tools=(Opaque("latin", "web_search", {}),)),
    "a foreign part": _answered(Opaque("latin", "web_search_call", {})),
    "no tool now": _chosen(ToolChoice(Choosing.NONE)),
    "any tool": _chosen(ToolChoice(Choosing.REQUIRED)),
    "this tool": _chosen(ToolChoice(Choosing.NAMED, "weather")),
    "one call at a time": ChatRequest((_ASKED,), tools=(_TOOL,), parallel_tool_calls=False),
    "JSON": ChatRequest((_ASKED,), output=JsonOutput()),
    "JSON of a schema": ChatRequest((_ASKED,), output=JsonOutput(SCHEMA, "answer", strict=True)),
    "JSON of a schema with a choice": ChatRequest(
        (_ASKED,), output=JsonOutput(_OPTIONAL, "answer", strict=True)
    ),
    "much effort": ChatRequest((_ASKED,), reasoning=Reasoning(Effort.MAX)),
    "little effort": ChatRequest((_ASKED,), reasoning=Reasoning(Effort.LOW)),
    "no thinking": ChatRequest((_ASKED,), reasoning=Reasoning(Effort.NONE)),
    "a budget of thinking": ChatRequest((_ASKED,), reasoning=Reasoning(budget=6000)),
    "thinking of nobody": _answered(Thinking("hm")),
    "thinking of a stranger": _answered(Thinking("hm", "EqQ=", "latin")),
    "redacted thinking of a stranger": _answered(Thinking("", "EqQ=", "latin", redacted=True)),
    "a cache marker": _said(_MARKED),
    "a cache marker in a prompt": ChatRequest((Message(Role.SYSTEM, (_MARKED,)), _ASKED)),
    "a cache marker in a result": ChatRequest(
        (_ASKED, _CALL, Message(Role.USER, (ToolResult("call_1", (_MARKED,)),)))
    ),
    "max_tokens": ChatRequest((_ASKED,), max_tokens=100),
    "temperature": _drawn(Sampling(temperature=0.5)),
    "a high temperature": _drawn(Sampling(temperature=1.5)),
    "top_p": _drawn(Sampling(top_p=0.5)),
    "top_k": _drawn(Sampling(top_k=5)),
    "min_p": _drawn(Sampling(min_p=0.1)),
    "seed": _drawn(Sampling(seed=7)),
    "frequency_penalty": _drawn(Sampling(frequency_penalty=0.5)),
    "presence_penalty": _drawn(Sampling(presence_penalty=0.5)),
    "repeat_penalty": _drawn(Sampling(repeat_penalty=1.5)),
    "logit_bias": _drawn(Sampling(logit_bias={"50256": -100})),
    "stop sequences": ChatRequest((_ASKED,), stop=("END",)),
    "five stop sequences": ChatRequest((_ASKED,), stop=("A", "B", "C", "D", "E")),
    "a user": ChatRequest((_ASKED,), user="user-1"),
    "verbosity": ChatRequest((_ASKED,), verbosity="low"),
    "a service tier": ChatRequest((_ASKED,), service_tier="flex"),
}

# What a dialect cannot hold: saying → the fields that its encoder names. What does not stand here
# is carried without a loss.
LOST: Mapping[str, Mapping[str, Mapping[str, Severity]]] = {
    "openai": {
        "a document by address": {"documents": FATAL},
        "a strict tool with a choice": {"strict": SEMANTIC},
        "a foreign tool": {"server_tools": SEMANTIC},
        "a foreign part": {"web_search_call": SEMANTIC},
        "thinking of nobody": {"thinking": COSMETIC},
        "thinking of a stranger": {"thinking": COSMETIC},
        "redacted thinking of a stranger": {"thinking": COSMETIC},
        "a cache marker": {"cache_control": COSMETIC},
        "a cache marker in a prompt": {"cache_control": COSMETIC},
        "a cache marker in a result": {"cache_control": COSMETIC},
        "top_k": {"top_k": COSMETIC},
        "min_p": {"min_p": COSMETIC},
        "repeat_penalty": {"repeat_penalty": COSMETIC},
        "five stop sequences": {"stop_sequences": SEMANTIC},
    },
    "anthropic": {
        "a foreign tool": {"server_tools": SEMANTIC},
        "a foreign part": {"web_search_call": SEMANTIC},
        "thinking of nobody": {"thinking": COSMETIC},
        "thinking of a stranger": {"thinking": COSMETIC},
        "redacted thinking of a stranger": {"thinking": COSMETIC},
        "a high temperature": {"temperature": COSMETIC},
        "min_p": {"min_p": COSMETIC},
        "seed": {"seed": COSMETIC},
        "frequency_penalty": {"frequency_penalty": COSMETIC},
        "presence_penalty": {"presence_penalty": COSMETIC},
        "repeat_penalty": {"repeat_penalty": COSMETIC},
        "logit_bias": {"logit_bias": COSMETIC},
        "verbosity": {"verbosity": COSMETIC},
        "a service tier": {"service_tier": COSMETIC},
    },
    "ollama": {
        "an image by address": {"images": FATAL},
        "a document": {"documents": FATAL},
        "a document by address": {"documents": FATAL},
        "a strict tool": {"strict": SEMANTIC},
        "a strict tool with a choice": {"strict": SEMANTIC},
        "a foreign tool": {"server_tools": SEMANTIC},
        "a foreign part": {"web_search_call": SEMANTIC},
        "one call at a time": {"parallel_tool_calls": SEMANTIC},
        "redacted thinking of a stranger": {"thinking": COSMETIC},
        "a cache marker": {"cache_control": COSMETIC},
        "a cache marker in a prompt": {"cache_control": COSMETIC},
        "a cache marker in a result": {"cache_control": COSMETIC},
        "logit_bias": {"logit_bias": COSMETIC},
        "a user": {"user": COSMETIC},
        "verbosity": {"verbosity": COSMETIC},
        "a service tier": {"service_tier": COSMETIC},
    },
    "openai-responses": {
        "a strict tool with a choice": {"strict": SEMANTIC},
        "a foreign tool": {"server_tools": SEMANTIC},
        "a foreign part": {"web_search_call": SEMANTIC},
        "thinking of nobody": {"thinking": COSMETIC},
        "thinking of a stranger": {"thinking": COSMETIC},
        "redacted thinking of a stranger": {"thinking": COSMETIC},
        "a cache marker": {"cache_control": COSMETIC},
        "a cache marker in a prompt": {"cache_control": COSMETIC},
        "a cache marker in a result": {"cache_control": COSMETIC},
        "top_k": {"top_k": COSMETIC},
        "min_p": {"min_p": COSMETIC},
        "seed": {"seed": COSMETIC},
        "frequency_penalty": {"frequency_penalty": COSMETIC},
        "presence_penalty": {"presence_penalty": COSMETIC},
        "repeat_penalty": {"repeat_penalty": COSMETIC},
        "logit_bias": {"logit_bias": COSMETIC},
        "stop sequences": {"stop_sequences": SEMANTIC},
        "five stop sequences": {"stop_sequences": SEMANTIC},
    },
    "toy": {
        "a document": {"documents": FATAL},
        "a document by address": {"documents": FATAL},
        "a document as text": {"documents": FATAL},
        "a foreign tool": {"web_search": SEMANTIC},
        "a foreign part": {"web_search_call": SEMANTIC},
        "no tool now": {"tool_choice": SEMANTIC},
        "any tool": {"tool_choice": SEMANTIC},
        "this tool": {"tool_choice": SEMANTIC},
        "one call at a time": {"parallel_tool_calls": SEMANTIC},
        "JSON": {"response_format": SEMANTIC},
        "JSON of a schema": {"response_format": SEMANTIC},
        "JSON of a schema with a choice": {"response_format": SEMANTIC},
        "much effort": {"reasoning_effort": COSMETIC},
        "little effort": {"reasoning_effort": COSMETIC},
        "no thinking": {"reasoning_effort": COSMETIC},
        "a budget of thinking": {"reasoning_effort": COSMETIC},
        "thinking of nobody": {"thinking": COSMETIC},
        "thinking of a stranger": {"thinking": COSMETIC},
        "redacted thinking of a stranger": {"thinking": COSMETIC},
        "a cache marker": {"cache_control": COSMETIC},
        "a cache marker in a prompt": {"cache_control": COSMETIC},
        "a cache marker in a result": {"cache_control": COSMETIC},
        "top_p": {"top_p": COSMETIC},
        "top_k": {"top_k": COSMETIC},
        "min_p": {"min_p": COSMETIC},
        "seed": {"seed": COSMETIC},
        "frequency_penalty": {"frequency_penalty": COSMETIC},
        "presence_penalty": {"presence_penalty": COSMETIC},
        "repeat_penalty": {"repeat_penalty": COSMETIC},
        "logit_bias": {"logit_bias": COSMETIC},
        "a user": {"user": COSMETIC},
        "verbosity": {"verbosity": COSMETIC},
        "a service tier": {"service_tier": COSMETIC},
    },
}
