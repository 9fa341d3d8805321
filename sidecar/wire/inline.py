"""Bytes that come with a request: as a data URI (RFC 2397), and as the text that they are."""

import base64
from urllib.parse import unquote_to_bytes

from sidecar.neutral.request import Inline, Remote


def address(source: Inline | Remote) -> str:
    """The address of a source: its own, or a data URI."""
    if isinstance(source, Remote):
        return source.url
    return f"data:{source.media_type};base64,{source.data}"


def from_data_uri(uri: str) -> Inline | None:
    """The bytes in a data URI; None where it is none."""
    if uri[:5].casefold() != "data:":
        return None
    kind, comma, data = uri[5:].partition(",")
    if not comma:
        return None
    media_type, *parameters = kind.split(";")
    if "base64" not in parameters:
        raw = unquote_to_bytes(data.encode("utf-8", "surrogatepass"))
        data = base64.b64encode(raw).decode()
    return Inline(media_type or "text/plain", data)


def decoded(source: Inline) -> str | None:
    """The text that the bytes are; None where they call themselves something else, or are none."""
    if not source.media_type.casefold().startswith("text/"):
        return None
    try:
        return base64.b64decode(source.data).decode()
    except ValueError:  # no base64, or no UTF-8
        return None
