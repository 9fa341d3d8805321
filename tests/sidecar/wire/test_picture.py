"""What the first bytes of pictures tell."""

import struct

import pytest

from sidecar.wire.picture import dimensions, media_type

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480)
GIF = b"GIF89a" + struct.pack("<HH", 640, 480)
APP0 = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF" + bytes(10)
SOF2 = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, 480, 640, 3)
JPEG = b"\xff\xd8" + APP0 + b"\xff" + SOF2  # with a fill byte


def webp(kind: bytes, data: bytes) -> bytes:
    return b"RIFF" + bytes(4) + b"WEBP" + kind + struct.pack("<I", len(data)) + data


LOSSY = webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 640 | 1 << 14, 480))
LOSSLESS = webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14) + bytes(5))
EXTENDED = webp(b"VP8X", bytes(4) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"))

PICTURES = [
    ("image/png", PNG),
    ("image/gif", GIF),
    ("image/gif", GIF.replace(b"89a", b"87a")),
    ("image/jpeg", JPEG),
    ("image/webp", LOSSY),
    ("image/webp", LOSSLESS),
    ("image/webp", EXTENDED),
]


@pytest.mark.parametrize(("kind", "picture"), PICTURES)
def test_a_picture_tells_its_type_and_size(kind: str, picture: bytes) -> None:
    assert media_type(picture) == kind
    assert dimensions(picture + bytes(20)) == (640, 480)


@pytest.mark.parametrize(("kind", "picture"), PICTURES)
def test_a_picture_cut_short_never_tells_a_wrong_size(kind: str, picture: bytes) -> None:
    assert {dimensions(picture[:end]) for end in range(len(picture))} <= {None, (640, 480)}


@pytest.mark.parametrize(
    "data", [b"", b"<svg/>", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"GIF90a", b"\x89PNG", b"\xff\xd8"]
)
def test_anything_else_is_no_picture(data: bytes) -> None:
    assert media_type(data) is None
    assert dimensions(data) is None


@pytest.mark.parametrize(
    "segments",
    [
        b"\x00\x00" * 10,  # no marker where one must be
        (b"\xff\xfe" + b"\x00\x02") * 1000 + SOF2,  # comments without end
        b"\xff" * 100_000,
        b"\xff\xe0\x00\x00" * 1000,  # lengths that lead nowhere
        b"\xff\xd0" * 4 + b"\xff\xd9" + bytes(20),  # ends without a frame
    ],
)
def test_a_jpeg_that_leads_nowhere_tells_no_size(segments: bytes) -> None:
    assert dimensions(b"\xff\xd8\xff\xe0\x00\x02" + segments) is None


def test_a_webp_of_an_unknown_kind_tells_no_size() -> None:
    assert dimensions(webp(b"ANIM", bytes(30))) is None
