"""Signatures of thinking on their way through another dialect.

A signature proves a model's thinking to the dialect that issued it, and to nobody else. Towards a
client of another dialect it is wrapped: marked as the sidecar's, with its issuer. When the client
sends it back, the issuer gets its own signature again and no other backend ever sees it.
"""

from sidecar.neutral.request import Thinking

MARK = "llm-sidecar."  # no vendor's signature begins so


def wrapped(signature: str | None, signed_by: str | None, dialect: str) -> str:
    """The signature as a client of `dialect` is to keep it; thinking without one gets a mark."""
    if signature is not None and signed_by == dialect:
        return signature
    return f"{MARK}{signed_by or ''}.{signature or ''}"


def unwrapped(told: str, dialect: str) -> tuple[str | None, str | None]:
    """The signature in what a client of `dialect` sent, and the dialect that issued it."""
    if not told.startswith(MARK):
        return (told, dialect) if told else (None, None)
    signed_by, _, signature = told.removeprefix(MARK).partition(".")
    return (signature or None, signed_by or None)


def is_signed_by(part: Thinking, dialect: str) -> bool:
    """Whether a backend of the dialect may be shown this thinking as its own."""
    return part.signature is not None and part.signed_by == dialect
