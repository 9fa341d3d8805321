"""The file with the keys of clients, which people edit by hand."""

import pytest

from sidecar.config.client_keys import HEAD, is_name, parse, with_key, without_key, written
from sidecar.policy.clients import ClientKey, digest

ANNA = written("anna", "sk-sidecar-a", "2026-11-27")
BEN = written("ben", "sk-sidecar-b", "2026-11-28")
D = "ab" * 32


def test_what_is_written_is_read() -> None:
    found = parse(with_key(with_key(b"", ANNA), BEN))
    assert found.keys == (
        ClientKey("anna", digest("sk-sidecar-a")),
        ClientKey("ben", digest("sk-sidecar-b")),
    )
    assert [line.note for line in found.lines] == ["2026-11-27", "2026-11-28"]
    assert not found.faults
    assert "sk-sidecar" not in ANNA


@pytest.mark.parametrize(
    "text",
    [
        f"  anna {D}",
        f"anna\tsha256:{D.upper()}   2026-01-01  lent to Anna # until May",
        f"\ufeff# a comment\r\n\r\nanna sha256:{D}\r\n",
    ],
)
def test_people_may_write_it_their_way(text: str) -> None:
    found = parse(text.encode())
    assert (found.keys, found.faults) == ((ClientKey("anna", bytes.fromhex(D)),), [])


@pytest.mark.parametrize(
    ("text", "number", "what"),
    [
        ("anna", 1, "no digest"),
        ("# x\n\nanna # sha256", 3, "no digest"),
        ("anna sk-sidecar-secret 2026-01-01", 1, "something that is no digest"),
        (f"anna sha256:{D[1:]}", 1, "something that is no digest"),
        (f"-a {D}", 1, "something that is no name"),
        (f"a/b {D}", 1, "something that is no name"),
        (f"{D}", 1, "something that is no name"),
        (f"anna {D}\nAnna {'cd' * 32}", 2, "the name of line 1 again"),
        (f"anna {D}\nben {D}", 2, "the key of line 1 again"),
        ("\xff\x00", 1, "something that is no name"),
    ],
)
def test_a_line_that_is_none_is_told_by_its_number(text: str, number: int, what: str) -> None:
    ((at, told, _),) = parse(text.encode("latin-1")).faults
    assert (at, told) == (number, what)


def test_no_part_of_a_bad_line_is_repeated() -> None:
    found = parse(b"sk-sidecar-secret anna\nanna sk-sidecar-secret\n")
    assert "secret" not in str(found.faults)


def test_a_line_goes_and_all_others_stay_as_they_are() -> None:
    content = HEAD.encode() + b"\xff odd # note\r\n" + ANNA.encode() + b"\n# end"
    (line,) = parse(content).lines
    assert without_key(content, line.number) == content.replace(ANNA.encode(), b"")


def test_where_no_line_is_left_a_comment_is() -> None:
    assert without_key(ANNA.encode(), 1) == HEAD.encode()


def test_a_line_is_added_behind_a_last_one_without_an_end() -> None:
    assert with_key(b"# mine", ANNA) == b"# mine\n" + ANNA.encode()
    assert with_key(b"", ANNA).startswith(HEAD.encode())


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("laptop", True), ("anna@example.com", True), ("a" * 63, True), ("a" * 64, False),
        ("", False), ("a b", False), ("a\n", False), ("#a", False), ("-a", False), ("ä", False),
    ],
)  # fmt: skip
def test_names(name: str, good: bool) -> None:
    assert is_name(name) is good
