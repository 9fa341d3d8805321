"""JSON objects as clients may write them: spaces, escapes, repeated keys, braces in strings."""

import json

from hypothesis import strategies as st

SPACES = st.text(" \t\r\n", max_size=3).map(str.encode)
KEYS = st.sampled_from(
    ["model", "stream_options", "messages", "a", "{", '"', "}", "\\", "é", "😀", "\ud800", "", ",:"]
)
_STRINGS = KEYS | st.text(max_size=8)
_NUMBERS = st.sampled_from(["0", "-1", "1e5", "1.10", "-0.0", "12345678901234567890123", "1E+2"])
_ATOMS = st.one_of(
    st.sampled_from(["true", "false", "null"]).map(str.encode),
    _NUMBERS.map(str.encode),
    st.builds(lambda text, ascii_only: _string(text, ascii_only), _STRINGS, st.booleans()),
)


def _string(text: str, ascii_only: bool) -> bytes:
    # a lone surrogate can only be written as an escape
    is_plain = not any("\ud800" <= mark <= "\udfff" for mark in text)
    return json.dumps(text, ensure_ascii=ascii_only or not is_plain).encode()


def _array(items: list[tuple[bytes, bytes]]) -> bytes:
    return b"[" + b",".join(space + item for space, item in items) + b"]"


def _object(items: list[tuple[bytes, str, bytes, bytes, bytes]], inside: bytes) -> bytes:
    written = (a + _string(key, True) + b + b":" + c + value + a for a, key, b, c, value in items)
    return b"{" + (b",".join(written) if items else inside) + b"}"


def _members(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    member = st.tuples(SPACES, KEYS, SPACES, SPACES, values)
    return st.builds(_object, st.lists(member, max_size=5), SPACES)


_VALUES = st.recursive(
    _ATOMS,
    lambda inner: st.lists(st.tuples(SPACES, inner), max_size=3).map(_array) | _members(inner),
    max_leaves=8,
)


def json_objects() -> st.SearchStrategy[bytes]:
    """Texts of JSON objects, with white space around."""
    return st.builds(lambda a, text, b: a + text + b, SPACES, _members(_VALUES), SPACES)
