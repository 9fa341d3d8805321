"""Models of a backend, and one model for a client."""

import pytest

from sidecar.dialects.openai_responses import DIALECT
from sidecar.wire.contract import ModelEntry


@pytest.mark.parametrize(
    ("told", "entry"),
    [
        ({"id": "a"}, ModelEntry("a")),
        (
            {"id": "a", "owned_by": "openai", "created": 7, "object": "model"},
            ModelEntry("a", "openai", 7),
        ),
        ({"id": "a", "max_model_len": 4096}, ModelEntry("a", context=4096)),
        (
            {"id": "a", "context_window": 8192, "max_completion_tokens": 1024},
            ModelEntry("a", context=8192, max_output=1024),
        ),
        ({"id": "a", "meta": {"n_ctx_train": 2048}}, ModelEntry("a", context=2048)),
        ({"id": "a", "created": "today", "context_length": None}, ModelEntry("a")),
    ],
)
def test_models_are_read(told: dict[str, object], entry: ModelEntry) -> None:
    assert DIALECT.decode_models({"data": [told, {"id": 7}, "junk"]}) == [entry]


@pytest.mark.parametrize("body", [[], {}, {"data": None}])
def test_what_is_no_list_is_refused(body: object) -> None:
    with pytest.raises(ValueError, match="data"):
        DIALECT.decode_models(body)


def test_a_model_is_told() -> None:
    entry = ModelEntry("a", "openai", 7, context=4096)
    assert DIALECT.encode_model(entry) == {
        "id": "a",
        "object": "model",
        "created": 7,
        "owned_by": "openai",
    }
    assert DIALECT.learn_model(entry, {"anything": 1}) == entry
