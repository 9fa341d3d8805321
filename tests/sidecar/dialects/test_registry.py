"""Dialects are found by name."""

from sidecar.dialects import DIALECTS, by_name


def test_names() -> None:
    names = [dialect.name for dialect in DIALECTS]
    assert names == ["openai", "openai-responses", "anthropic", "ollama"]
    assert [by_name(name) for name in names] == list(DIALECTS)
    assert by_name("latin") is None
