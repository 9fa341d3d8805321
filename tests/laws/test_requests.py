"""A request asks the same of every backend, or a loss names what it does not."""

from hypothesis import given, settings

from sidecar.neutral.request import ChatRequest
from sidecar.wire.contract import Dialect, Operation
from tests.laws.spoken import EVERY, PAIRS, as_sent, asked, target
from tests.laws.strategies import requests
from tests.laws.survival import assert_same


@EVERY
@given(request=requests())
def test_a_request_survives(dialect: Dialect, request: ChatRequest) -> None:
    encoded = dialect.encode_request(request, target(dialect))
    again = dialect.decode_request(Operation.CHAT, as_sent(encoded.body))
    assert again.unheard == ()
    assert_same(request, again, encoded)


@PAIRS
@settings(max_examples=40)
@given(request=requests())
def test_a_request_survives_from_a_client_to_a_backend(
    client: Dialect, backend: Dialect, request: ChatRequest
) -> None:
    from_client = client.decode_request(Operation.CHAT, asked(client, request))
    encoded = backend.encode_request(from_client, target(backend))
    at_backend = backend.decode_request(Operation.CHAT, as_sent(encoded.body))
    assert_same(from_client, at_backend, encoded)


@EVERY
@given(request=requests())
def test_a_request_that_was_read_is_written_as_it_was(
    dialect: Dialect, request: ChatRequest
) -> None:
    body = asked(dialect, request)
    read = dialect.decode_request(Operation.CHAT, body)
    again = asked(dialect, read)
    assert asked(dialect, dialect.decode_request(Operation.CHAT, again)) == again
