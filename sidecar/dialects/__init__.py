"""The registry: the tuple of all dialects. Adding one is a folder and a line here."""

from sidecar.dialects import anthropic_messages, ollama_chat, openai_chat, openai_responses
from sidecar.wire.contract import Dialect

DIALECTS: tuple[Dialect, ...] = (
    openai_chat.DIALECT,
    openai_responses.DIALECT,
    anthropic_messages.DIALECT,
    ollama_chat.DIALECT,
)


def by_name(name: str) -> Dialect | None:
    """The dialect of that name, if it is spoken."""
    return next((dialect for dialect in DIALECTS if dialect.name == name), None)
