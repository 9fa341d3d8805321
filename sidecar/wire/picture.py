"""What the first bytes of a picture tell: its type, and its width and height in pixels."""

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_GIF = (b"GIF87a", b"GIF89a")
_SEGMENTS = 256  # of a JPEG, looked at in search of its frame header
# Start-of-frame markers of ITU T.81, table B.1; C4, C8 and CC in their midst are something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length behind them


def media_type(head: bytes) -> str | None:
    """The type of a picture that every vendor reads; None where the bytes are no such picture."""
    if head.startswith(_JPEG):
        return "image/jpeg"
    if head.startswith(_PNG):
        return "image/png"
    if head.startswith(_GIF):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def dimensions(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels; None where these bytes do not tell them."""
    match media_type(head):
        case "image/png" if len(head) >= 24:
            return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
        case "image/gif" if len(head) >= 10:
            return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
        case "image/webp" if len(head) >= 30:
            return _webp(head)
        case "image/jpeg":
            return _jpeg(head)
        case _:
            return None


def _webp(head: bytes) -> tuple[int, int] | None:
    """By RFC 9649: extended, lossless or lossy."""
    match head[12:16]:
        case b"VP8X":
            width, height = head[24:27], head[27:30]
            return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = head[26:28], head[28:30]
            return int.from_bytes(width, "little") & 0x3FFF, (
                int.from_bytes(height, "little") & 0x3FFF
            )
        case _:
            return None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2
    for _ in range(_SEGMENTS):
        if len(head) < at + 9 or head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker in _FRAMES:
            height, width = head[at + 5 : at + 7], head[at + 7 : at + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _BARE:
            at += 2
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None
