"""Dialects are found by name."""

from sidecar.dialects import DIALECTS, by_name


def test_names() -> None:
    assert [dialect.name for dialect in DIALECTS] == ["openai"]
    assert by_name("openai") is DIALECTS[0]
    assert by_name("latin") is None
