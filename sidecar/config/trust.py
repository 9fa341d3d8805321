"""Whom to trust over TLS. Making a context costs some 25 ms, so each kind is made once."""

import ssl
from functools import lru_cache


@lru_cache(maxsize=32)
def trust(ca: str | None) -> ssl.SSLContext:
    """The system's authorities, and those of a PEM text."""
    context = ssl.create_default_context()
    if ca is not None:
        context.load_verify_locations(cadata=ca)
    return context
