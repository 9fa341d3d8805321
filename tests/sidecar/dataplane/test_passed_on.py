"""A backend's own error on its way: its bytes, our field, no key."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.dataplane.passed_on import passed_on
from sidecar.telemetry.redact import Redactor
from sidecar.wire import json

SECRET = "hunter2-hunter2"
EXTENSION: Mapping[str, object] = {"request_id": "r"}
redact = Redactor([SECRET])


@pytest.mark.parametrize(
    ("raw", "within", "told"),
    [
        (
            b'{"error": {"message": "No", "code": 1.0}, "id": 1e5}',
            "error",
            b'{"error": {"message": "No", "code": 1.0,"sidecar":{"request_id":"r"}}, "id": 1e5}',
        ),
        (b'{"error":{}}', "error", b'{"error":{"sidecar":{"request_id":"r"}}}'),
        (b'{"error":"No"}', None, b'{"error":"No","sidecar":{"request_id":"r"}}'),
        (b'{"error":"No"}', "error", b'{"error":"No"}'),
        (b'{"error":null,"message":"No"}', "error", b'{"error":null,"message":"No"}'),
        (b'{"object":"error","message":"No"}', "error", b'{"object":"error","message":"No"}'),
        (b"{}", None, b'{"sidecar":{"request_id":"r"}}'),
        (
            b'{"error":{"a":1},"error":{"b":2}}',
            "error",
            b'{"error":{"a":1},"error":{"b":2,"sidecar":{"request_id":"r"}}}',
        ),
        (
            b'{"error":{"sidecar":{"request_id":"far"},"message":"No"}}',
            "error",
            b'{"error":{"sidecar":{"request_id":"r","behind":{"request_id":"far"}},"message":"No"}}',
        ),
        (b'{"sidecar":7}', None, b'{"sidecar":{"request_id":"r"}}'),
    ],
)
def test_our_field_is_put_beside_theirs(raw: bytes, within: str | None, told: bytes) -> None:
    assert passed_on(raw, within, EXTENSION, redact) == told


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        f"Bearer {SECRET}",
        "".join(f"\\u{ord(one):04x}" for one in SECRET),
        "hunter2\\u002dhunter2",
    ],
)
@pytest.mark.parametrize("within", ["error", None])
def test_a_key_is_masked_however_it_is_written(echo: str, within: str | None) -> None:
    raw = f'{{"error":{{"message":"Bad key {echo}","{echo}":["{echo}"]}}}}'.encode()
    told = passed_on(raw, within, EXTENSION, redact)
    assert SECRET not in str(json.loads(told))
    assert b"request_id" in told


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["error", "message", "code", "x"]), values, max_size=4))
@example({"error": {"sidecar": "theirs"}})
def test_every_other_field_stays(body: dict[str, Any]) -> None:
    told = json.loads(passed_on(json.dumps(body), "error", EXTENSION, lambda text: text))
    error = body.get("error")
    if not isinstance(error, dict):
        assert told == body
        return
    ours = told["error"].pop("sidecar")
    error.pop("sidecar", None)
    assert told == body
    assert ours["request_id"] == "r"
