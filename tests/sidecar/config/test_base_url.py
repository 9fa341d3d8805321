"""Reading base URLs."""

import pytest

from sidecar.config import base_url

OWN = [(("127.0.0.1", "::1"), 14400), (("0.0.0.0",), 14401)]  # noqa: S104
SUFFIXES = ("/chat/completions", "/completions", "/v1")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://box", ("http", "box", 80)),
        ("https://box/v1", ("https", "box", 443)),
        ("http://[::1]:8000/v1", ("http", "::1", 8000)),
        ("http://BOX:1", ("http", "box", 1)),
    ],
)
def test_good_addresses(url: str, expected: tuple[str, str, int]) -> None:
    found = base_url.read(url)
    assert (found.scheme, found.host, found.port) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("box:8000", "http://"), ("ftp://box", "http://"), ("file:///etc/passwd", "http://"),
        ("http://", "such as"), ("http://box:99999", "such as"), ("http://box:0", "such as"),
        ("http://[::1", "such as"), ("http://a b", "spaces"), ("http://b\n", "spaces"),
        ("http://u:p@box", "credentials"), ("http://box?key=1", "query"), ("http://box#x", "query"),
    ],
)  # fmt: skip
def test_bad_addresses(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        base_url.read(url)


@pytest.mark.parametrize(
    ("url", "rest", "taken"),
    [
        ("http://b", "http://b", []),
        ("http://b/", "http://b", ["/"]),
        ("http://b/x", "http://b/x", []),
        ("http://b/v1/chat/completions", "http://b", ["/chat/completions", "/v1"]),
        ("http://b/v1/", "http://b", ["/v1"]),
        ("http://b/xv1", "http://b/xv1", []),
    ],
)
def test_trimming(url: str, rest: str, taken: list[str]) -> None:
    assert base_url.trim(url, SUFFIXES) == (rest, taken)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True), ("a.localhost", True), ("localhost.", True), ("127.0.0.1", True),
        ("127.1", True), ("2130706433", True), ("0x7f.1", True), ("::1", True), ("0.0.0.0", True),  # noqa: S104
        ("::ffff:10.0.0.1", True), ("10.1.2.3", True), ("192.168.1.1", True), ("172.16.0.1", True),
        ("169.254.1.1", True), ("fd00::1", True), ("fe80::1%eth0", True),
        ("8.8.8.8", False), ("172.32.0.1", False), ("2606:4700::1", False),
        ("::ffff:8.8.8.8", False), ("134744072", False),
        ("box", None), ("api.example.com", None), ("vllm.models", None), ("localhost.evil", None),
    ],
)  # fmt: skip
def test_locality(host: str, local: bool | None) -> None:
    assert base_url.locality(host) is local


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://localhost:14400/v1", True), ("http://127.0.0.1:14400", True),
        ("http://[::1]:14400", True), ("http://0.0.0.0:14400", True), ("http://127.1:14400", True),
        ("http://[::ffff:127.0.0.1]:14400", True), ("http://127.0.0.1:14401", True),
        ("http://127.0.0.1:14402", False), ("http://10.0.0.1:14400", False),
        ("http://box:14400", False),
    ],
)  # fmt: skip
def test_our_own_listeners(url: str, own: bool) -> None:
    assert base_url.is_own(base_url.read(url), OWN) is own
