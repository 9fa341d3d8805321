"""Which key a call carries and where it goes."""

from dataclasses import replace

import pytest

from sidecar.config.address import Key, key_for, url_for
from sidecar.config.secret import Secret
from sidecar.config.snapshot import Credential, Forward, Quirks
from sidecar.dialects.openai_chat import DIALECT
from tests.sidecar.examples import backend, bearer

IN_A_HEADER = replace(DIALECT, key_header="x-api-key")
OURS = Credential("header", "x-api-key", Secret("ours", "env K"))


@pytest.mark.parametrize(
    ("auth", "client_key", "expected"),
    [
        (None, "theirs", Key()),
        (bearer("ours"), "theirs", Key({"Authorization": "Bearer ours"})),
        (OURS, "theirs", Key({"x-api-key": "ours"})),
        (Credential("query", "key", Secret("ours", "env K")), None, Key(query={"key": "ours"})),
        (Forward(), "theirs", Key({"Authorization": "Bearer theirs"}, forwarded=True)),
        (Forward(), None, Key()),
        (Forward(), "", Key()),
        (Forward((), OURS), None, Key({"x-api-key": "ours"})),
        (Forward(("th*",), OURS), "theirs", Key({"x-api-key": "ours"})),
        (Forward(("th*",)), "theirs", Key()),
    ],
)
def test_a_key_is_ours_or_forwarded(
    auth: Credential | Forward | None, client_key: str | None, expected: Key
) -> None:
    assert key_for(backend("b", auth=auth), client_key) == expected


@pytest.mark.parametrize(
    ("client_key", "headers"),
    [
        ("sk-ant-api03-x", {"x-api-key": "sk-ant-api03-x"}),
        ("sk-ant-oat01-x", {"Authorization": "Bearer sk-ant-oat01-x"}),
    ],
)
def test_a_forwarded_key_goes_where_the_dialect_looks_for_one(
    client_key: str, headers: dict[str, str]
) -> None:
    found = key_for(backend("b", dialect=IN_A_HEADER, auth=Forward()), client_key)
    assert found == Key(headers, forwarded=True)


def test_an_address_is_the_base_the_path_within_its_quirk_and_the_query() -> None:
    quirks = Quirks(path="/team{path}", query={"v": "1"})
    desk = backend("b", base_url="http://desk", quirks=quirks)
    assert url_for(desk, "/chat", {"key": "k"}, "a=b") == "http://desk/team/chat?a=b&v=1&key=k"
    assert url_for(backend("b", base_url="http://desk"), "/chat", {}) == "http://desk/chat"
