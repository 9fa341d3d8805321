"""The four dialects as fakes speak them: frames by hand, as the vendors document them.

Nothing here knows the sidecar's own code.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.fakes.seen import Seen
from tests.fakes.voices import anthropic, ollama, openai, responses
from tests.fakes.voices.voice import Voice

VOICES: Mapping[str, Voice] = {
    each.VOICE.name: each.VOICE for each in (openai, responses, anthropic, ollama)
}
_BY_PATH = {voice.prefix + voice.path: voice for voice in VOICES.values()}


def of(seen: Seen) -> Voice:
    """The dialect that a request asks for by its path; OpenAI's where it says nothing."""
    return _BY_PATH.get(seen.path, openai.VOICE)
