"""Proofs: RFC 5869's own examples, and whatever somebody else might pass off as one."""

from __future__ import annotations

import json

import pytest

from tunnel.proof import Proof, hkdf

NONCE = "0123456789abcdef" * 2
PROOF = Proof.of(b"secret of a tunnel")


@pytest.mark.parametrize(
    ("secret", "salt", "info", "length", "made"),
    [
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            82,
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41"
            "c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b" * 22,
            "",
            "",
            42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_hkdf_of_the_rfc(secret: str, salt: str, info: str, length: int, made: str) -> None:
    read = bytes.fromhex
    assert hkdf(read(secret), salt=read(salt), info=read(info), length=length) == read(made)


@pytest.mark.parametrize("connector", ["0c9d4a5e", None, ""])
def test_an_answer_is_good_for_its_nonce_alone(connector: str | None) -> None:
    body = PROOF.answer(PROOF.path + NONCE, "home-1", connector)
    assert body is not None
    assert PROOF.check(NONCE, body) == ("home-1", connector)
    assert Proof.of(b"secret of a tunnel").check(NONCE, body) == ("home-1", connector)
    assert PROOF.check(NONCE[::-1], body) is None
    assert Proof.of(b"another").check(NONCE, body) is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        PROOF.path,
        PROOF.path + NONCE[:-1],
        PROOF.path + NONCE + "0",
        PROOF.path + NONCE + "\n",
        PROOF.path + NONCE.upper(),
        PROOF.path + "é" * 32,
        PROOF.path[:-2] + "/" + NONCE,
        "/" + "0" * 32 + "/" + NONCE,
        "\udc80" + NONCE,
        Proof.of(b"").path + NONCE,
    ],
)
def test_no_other_path_is_answered(path: str) -> None:
    assert PROOF.answer(path, "home-1", None) is None


def test_a_proof_does_not_print() -> None:
    assert PROOF.path not in repr(PROOF)
    assert PROOF.path.startswith("/")
    assert len(PROOF.path) == 34


def forged(**more: object) -> bytes:
    good = PROOF.answer(PROOF.path + NONCE, "home-1", "tag")
    assert good is not None
    return json.dumps({**json.loads(good), **more}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 4000,
        forged(mac=None),
        forged(mac=1),
        forged(mac="é"),
        forged(mac="\ud800"),
        forged(replica="home-2"),
        forged(replica=None),
        forged(connector="gat"),
        forged(connector=None),
        forged(connector=7),
        # the same letters, parted elsewhere
        forged(replica="home-1t", connector="ag"),
        forged(replica="home-1tag", connector=None),
        forged(more="x" * 5000),
    ],
)
def test_no_other_body_is_good(body: bytes) -> None:
    assert PROOF.check(NONCE, body) is None
