"""What a dialect cannot hold is declared, and its encoder says so."""

import pytest

from sidecar.neutral.request import Severity
from sidecar.wire.contract import Dialect, Operation
from tests.laws.losses import LOST, SAYINGS
from tests.laws.spoken import EVERY, SPOKEN, as_sent, target


@EVERY
@pytest.mark.parametrize("saying", SAYINGS)
def test_an_encoder_names_what_it_cannot_hold(dialect: Dialect, saying: str) -> None:
    encoded = dialect.encode_request(SAYINGS[saying], target(dialect))
    named = {loss.field: loss.severity for loss in encoded.losses}
    assert named == LOST[dialect.name].get(saying, {})
    # what is refused says why and what to do
    assert all(loss.reason for loss in encoded.losses if loss.severity is Severity.FATAL)
    again = dialect.decode_request(Operation.CHAT, as_sent(encoded.body))
    assert again.unheard == ()


def test_the_table_speaks_of_what_there_is() -> None:
    assert LOST.keys() == {dialect.name for dialect in SPOKEN}
    assert all(saying in SAYINGS for lost in LOST.values() for saying in lost)
