"""A value that never prints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A credential with the reference that it came from, such as `env OPENAI_API_KEY`."""

    value: str
    origin: str

    def __repr__(self) -> str:
        return f"<secret from {self.origin}>"

    __str__ = __repr__
