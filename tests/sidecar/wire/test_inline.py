"""Bytes in data URIs, and texts in base64."""

import pytest

from sidecar.neutral.request import Inline, Remote
from sidecar.wire.inline import address, decoded, from_data_uri


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("data:image/png;base64,iVBO", Inline("image/png", "iVBO")),
        ("DATA:text/plain;charset=utf-8;base64,SGk=", Inline("text/plain", "SGk=")),
        ("data:image/svg+xml,%3Csvg/%3E", Inline("image/svg+xml", "PHN2Zy8+")),
        ("data:,Hi", Inline("text/plain", "SGk=")),
        ("data:image/png", None),
        ("https://example.com/a,b", None),
        ("", None),
    ],
)
def test_a_data_uri(uri: str, source: Inline | None) -> None:
    assert from_data_uri(uri) == source


def test_an_address() -> None:
    source = Inline("image/png", "iVBO")
    assert from_data_uri(address(source)) == source
    assert address(Remote("https://example.com/a.png")) == "https://example.com/a.png"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Inline("text/plain", "WsO8cmljaA=="), "Zürich"),
        (Inline("Text/Markdown", ""), ""),
        (Inline("application/pdf", "SGk="), None),
        (Inline("text/plain", "/w=="), None),
        (Inline("text/plain", "S"), None),
    ],
)
def test_the_text_that_bytes_are(source: Inline, text: str | None) -> None:
    assert decoded(source) == text
