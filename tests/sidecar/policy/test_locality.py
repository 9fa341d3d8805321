"""Which addresses never leave the machine or its private network."""

import pytest

from sidecar.policy.locality import address, is_local, is_public


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("0.0.0.0", True),  # noqa: S104  # an address to judge, not one to listen on
        ("0.0.0.1", False),
        ("10.0.0.1", True),
        ("172.16.0.1", True),
        ("172.31.255.255", True),
        ("172.15.255.255", False),
        ("172.32.0.1", False),
        ("192.168.1.1", True),
        ("192.169.1.1", False),
        ("169.254.169.254", True),
        ("8.8.8.8", False),
        ("::1", True),
        ("::", True),
        ("::2", False),
        ("fd00::1", True),
        ("fe80::1%eth0", True),
        ("2606:4700::1111", False),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.1.2.3", True),
        ("::ffff:8.8.8.8", False),
    ],
)
def test_is_local(text: str, expected: bool) -> None:
    assert is_local(text) is expected


@pytest.mark.parametrize("name", ["localhost", "", "127.1"])
def test_a_name_is_not_known_to_be_local(name: str) -> None:
    assert address(name) is None
    assert not is_local(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8.8.8.8", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),  # shared by the customers of one provider
        ("192.0.2.1", False),  # for documentation
        ("198.18.0.1", False),  # for benchmarks
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),  # noqa: S104  # an address to judge, not one to listen on
        ("2606:4700::1111", True),
        ("::1", False),
        ("::", False),
        ("::127.0.0.1", False),
        ("fd00::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("2001::1", False),  # Teredo
        ("2002:7f00:1::1", False),  # 6to4 of 127.0.0.1
        ("::ffff:8.8.8.8", True),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::8.8.8.8", True),
        ("64:ff9b::127.0.0.1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::8.8.8.8", False),
        ("localhost", False),
        ("2130706433", False),
        ("127.1", False),
    ],
)
def test_is_public(text: str, expected: bool) -> None:
    assert is_public(text) is expected
