"""Every oddity, by the name of the dialect that it is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.fakes.odd import anthropic, ollama, openai_chat, openai_responses
from tests.fakes.odd.oddity import Odd

ODDITIES: Mapping[str, Sequence[Odd]] = {
    "openai": openai_chat.ODDITIES,
    "openai-responses": openai_responses.ODDITIES,
    "anthropic": anthropic.ODDITIES,
    "ollama": ollama.ODDITIES,
}
