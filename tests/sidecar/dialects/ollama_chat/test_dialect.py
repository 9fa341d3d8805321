"""What the dialect says of itself."""

import pytest

from sidecar.dialects.ollama_chat import DIALECT
from sidecar.wire.contract import Operation


def test_its_paths_are_known_at_the_end_of_an_address() -> None:
    pages = [path for path in DIALECT.listings if path != "/"]
    assert {*DIALECT.endpoints, *pages, "/api", "/v1"} <= set(DIALECT.known_suffixes)
    assert set(DIALECT.backend_paths.values()) <= set(DIALECT.known_suffixes)
    assert set(DIALECT.endpoints.values()) <= set(DIALECT.backend_paths)


@pytest.mark.parametrize("path", ["/api/pull", "/api/push", "/api/create", "/api/delete"])
def test_what_changes_models_is_no_endpoint(path: str) -> None:
    assert path in DIALECT.managing
    assert path not in DIALECT.endpoints


def test_nobody_counts_tokens() -> None:
    assert Operation.COUNT not in DIALECT.endpoints.values()
    assert DIALECT.decode_count({"input_tokens": 3}) is None
    assert DIALECT.encode_count(3) == {"prompt_eval_count": 3}
