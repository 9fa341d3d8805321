"""Every client and every backend of the matrix, by the name of its dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.e2e.matrix.anthropic_messages import AnthropicMessages
from tests.e2e.matrix.ollama_chat import OllamaChat
from tests.e2e.matrix.openai_chat import OpenAIChat
from tests.e2e.matrix.openai_responses import OpenAIResponses
from tests.e2e.matrix.talk import Client
from tests.fakes.strict import anthropic, ollama, openai_chat, openai_responses
from tests.fakes.strict.backend import Vendor

# made with an address and a key
CLIENTS: Mapping[str, Callable[[str, str], Client]] = {
    each.dialect: each for each in (OpenAIChat, OpenAIResponses, AnthropicMessages, OllamaChat)
}
VENDORS: Mapping[str, Vendor] = {
    each.VENDOR.name: each.VENDOR for each in (openai_chat, openai_responses, anthropic, ollama)
}
