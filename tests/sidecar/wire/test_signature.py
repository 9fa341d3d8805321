"""A signature comes back to its issuer and is shown to nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.neutral.request import Thinking
from sidecar.wire.signature import MARK, is_signed_by, unwrapped, wrapped

NAMES = st.sampled_from(["anthropic", "openai", "openai-responses"])


@given(st.text(min_size=1), NAMES, NAMES)
def test_a_signature_survives_a_trip_through_any_client(
    signature: str, issuer: str, client: str
) -> None:
    assert unwrapped(wrapped(signature, issuer, client), client) == (signature, issuer)


@pytest.mark.parametrize(
    ("signature", "signed_by", "told"),
    [
        pytest.param("EqQ=", "anthropic", "EqQ=", id="its own"),
        pytest.param("EqQ=", "openai", "llm-sidecar.openai.EqQ=", id="of another"),
        pytest.param("a.b.c", "openai", "llm-sidecar.openai.a.b.c", id="with dots"),
        pytest.param("EqQ=", None, "llm-sidecar..EqQ=", id="of nobody"),
        pytest.param(None, "openai", "llm-sidecar.openai.", id="none, of another"),
        pytest.param(None, None, "llm-sidecar..", id="none"),
    ],
)
def test_towards_a_client_of_anthropic(
    signature: str | None, signed_by: str | None, told: str
) -> None:
    assert wrapped(signature, signed_by, "anthropic") == told
    assert unwrapped(told, "anthropic") == (signature, signed_by)
    assert told.startswith(MARK) is (signed_by != "anthropic")


def test_an_empty_signature_is_none() -> None:
    assert unwrapped("", "anthropic") == (None, None)


@pytest.mark.parametrize(
    ("part", "dialect", "is_signed"),
    [
        (Thinking("so", "EqQ=", "anthropic"), "anthropic", True),
        (Thinking("so", "EqQ=", "anthropic"), "openai", False),
        (Thinking("so", None, "anthropic"), "anthropic", False),
        (Thinking("so", "EqQ="), "anthropic", False),
    ],
)
def test_is_signed_by(part: Thinking, dialect: str, is_signed: bool) -> None:
    assert is_signed_by(part, dialect) is is_signed
