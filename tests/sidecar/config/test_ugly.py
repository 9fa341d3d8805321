"""Whatever stands in a file, loading it ends with a fault that says what is wrong."""

from pathlib import Path

import pytest

from sidecar.config import load
from sidecar.config.faults import ConfigError

BACKEND = """\
backends: {{a: {{dialect: openai, base_url: {url}, {rest}}}}}
routes: {{r: {{targets: [{{backend: a}}]}}}}
"""
ENVIRON = {"BYTES": "caf\udce9"}  # how Python hands over what is not UTF-8


def backend(rest: str = "model: m", url: str = "http://10.0.0.1/v1") -> str:
    return BACKEND.format(url=url, rest=rest)


def told(tmp_path: Path, text: str) -> str:
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load.load(str(path), ENVIRON)
    said = str(raised.value)
    said.encode()  # it can be printed
    return said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (backend(url="http://999.1.1.1/v1"), "whose host is a name or an IP address"),
        (backend(url="http://0x1ffffffff/v1"), "whose host is a name or an IP address"),
        (backend(url="http://1.2.3.4.5./v1"), None),
        (backend('ca: "a\\0b"'), "no possible name of a file"),
        (backend('auth: {bearer: {file: "a\\0b"}}'), "no possible name of a file"),
        (backend('auth: {bearer: {file: "\\ud800"}}'), "half a character"),
        (backend(f"auth: {{bearer: {{file: {'x' * 5000}}}}}"), "file name too long"),
        (backend("auth: {bearer: {file: .}}"), "no regular file"),
        (backend('"\\ud800": 1'), "half a character"),
        (backend('quirks: {set: {"\\ud800": 1}}'), "half a character"),
        (backend('quirks: {set: {a: "\\ud800"}}'), "half a character"),
        (backend('model: "${BYTES}"'), "half a character"),
        (backend(f"quirks: {{set: {{a: {'9' * 5000}}}}}"), "a number of at most 64 bits"),
        (backend(f"model: 0x{'f' * 6000}"), "a number of at most 64 bits"),
        (backend(f"context: {{m: {2**64}}}"), "a number of at most 64 bits"),
        (backend("quirks: {set: {a: 1e999}}"), "a number of at most 64 bits"),
        (backend("model: !!int x"), "a number of at most 64 bits"),
        (backend("model: !!float x"), "a number of at most 64 bits"),
        (backend("model: !!bool x"), "found false"),
        (backend('model: "\\Uffffffff"'), "beyond what YAML allows"),
        (backend('model: "\\U00110000"'), "beyond what YAML allows"),
        (f"%YAML 1.{'1' * 5000}\n---\na: 1", "beyond what YAML allows"),
        ('listeners: {control: {socket: "/a\\0"}}\n' + backend(), "a null character"),
        ('listeners: {data: {bind: "\\0"}}\n' + backend(), "loopback or an IP address"),
        ("a: &a {<<: *a}", "too many levels"),
        ("backends: *a", "undefined alias"),
        ("<<: 1", "<< with no mapping"),
        ("? [a]\n: b", "a nested key"),
        ("? \n: b", "a key that is text"),
        ("!!set {a, b}", "found"),
        ("backends: {a: null}\nroutes: {a: null, b: [], c: x}", "found"),
        ("backends: [[[]]]\nroutes: 1\ndefaults: x\nlimits: ''", "found"),
        (backend("auth: {bearer: [{file: x}]}"), "found"),
        (backend("auth: [{file: x}]"), "found"),
        (backend("ca: {file: x}"), "found"),
        ("backends: {a: {ca: []}, b: [1], c: {auth: null}}", "found"),
    ],
)  # fmt: skip
def test_an_ugly_document_is_a_fault(tmp_path: Path, text: str, says: str | None) -> None:
    if says is None:  # it only looks ugly
        (tmp_path / "f.yaml").write_text(text)
        load.load(str(tmp_path / "f.yaml"), {})
    else:
        assert says in told(tmp_path, text)


def test_merges_of_nothing_cannot_take_for_ever(tmp_path: Path) -> None:
    text = "a0: &a0 {}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)
    )
    assert "unfold without end" in told(tmp_path, text)


def test_the_path_itself_may_be_ugly() -> None:
    for path in ("a\0b", "\ud800", "x" * 5000):
        with pytest.raises(ConfigError):
            load.load(path, {})
        assert load.doors(path, {}).data.port == 14400


def test_a_certificate_may_have_comments_in_any_language(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("# Főtanúsítvány\njunk\n")
    assert "ca.pem, which holds no certificate" in told(tmp_path, backend("ca: ca.pem"))
