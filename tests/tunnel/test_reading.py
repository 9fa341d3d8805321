"""The section of a file, read for the tunnel alone."""

from pathlib import Path

import pytest

from tests.tunnel.test_config import TOKEN
from tunnel.reading import ORIGIN, Unusable, read


def written(folder: Path, text: str) -> str:
    (folder / "token").write_text(TOKEN)
    file = folder / "sidecar.yaml"
    file.write_text(text)
    return str(file)


def test_a_file_of_the_sidecar_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "backends: {home: {preset: ollama}}\n"
        "tunnel: {token: {file: token}, binary: '${BIN:-cf}', probe: {url: 'https://${NAME}'}}\n",
    )
    found = read(path, {"NAME": "llm.example.com"})
    assert (found.settings.secret, found.settings.binary) == (TOKEN, "cf")
    assert found.settings.probe.url == "https://llm.example.com"
    assert found.settings.origin == ORIGIN
    assert TOKEN not in repr(found)
    assert found == read(path, {"NAME": "llm.example.com"})


def test_an_origin_of_its_own(tmp_path: Path) -> None:
    path = written(
        tmp_path, "tunnel: {quick: true, origin: 'http://sidecar:8080', i_know_this_is_open: true}"
    )
    found = read(path, {}).settings
    assert (found.origin, found.open) == ("http://sidecar:8080", True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("backends: {}\n", "found no section `tunnel:`"),
        ("- 1\n", "found no section `tunnel:`"),
        ("a: [\n", ":2:1: this is no YAML"),
        ("tunnel: {quick: true, grace: 4m}\n", "tunnel.grace: a duration of at most 3m"),
        ("tunnel: {token: {file: none}}\n", "tunnel.token.file: found none: no such file"),
        ("tunnel: {quick: true, binary: '${NOWHERE}'}\n", "found ${NOWHERE}, expected a variable"),
        ("tunnel: {token: abc}\n", "a secret never stands in the configuration itself"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(Unusable, match=r".") as told:
        read(path, {})
    assert str(told.value).startswith(path)
    assert expected in str(told.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="No such file"):
        read(str(tmp_path / "none.yaml"), {})
