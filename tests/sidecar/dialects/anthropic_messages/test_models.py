"""Lists of models in both directions."""

import pytest
from anthropic.types import ModelInfo

from sidecar.dialects.anthropic_messages.models import (
    decode_models,
    encode_model,
    encode_models,
    learn_model,
)
from sidecar.wire.contract import ModelEntry

FULL = ModelEntry("a", created=1_771_200_000, context=200_000, max_output=64_000)


def test_an_entry() -> None:
    told = encode_model(FULL)
    assert told == {
        "type": "model",
        "id": "a",
        "display_name": "a",
        "created_at": "2026-02-16T00:00:00Z",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }
    assert ModelInfo.model_validate({**told, "lifecycle": "active"}).max_tokens == 64_000


@pytest.mark.parametrize(
    ("entries", "first", "last"),
    [([], None, None), ([FULL], "a", "a"), ([FULL, ModelEntry("b")], "a", "b")],
)
def test_the_list(entries: list[ModelEntry], first: str | None, last: str | None) -> None:
    page = encode_models(entries)
    assert (page["first_id"], page["last_id"], page["has_more"]) == (first, last, False)
    assert [entry.id for entry in decode_models(page)] == [entry.id for entry in entries]


def test_what_was_listed_is_read_again() -> None:
    assert list(decode_models(encode_models([FULL]))) == [FULL]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"id": "a"}, ModelEntry("a")),
        (
            {"id": "a", "created": 5, "max_model_len": 8192},
            ModelEntry("a", created=5, context=8192),
        ),
        ({"id": "a", "max_tokens": "many", "created_at": "?"}, ModelEntry("a")),
        (
            {
                "id": "a",
                "capabilities": {
                    "image_input": {"supported": True},
                    "thinking": {"supported": False},
                },
            },
            ModelEntry("a", capabilities=frozenset({"completion", "tools", "vision"})),
        ),
    ],
)
def test_what_backends_tell(told: dict[str, object], expected: ModelEntry) -> None:
    assert list(decode_models({"data": [told, "x", {"id": 4}]})) == [expected]


@pytest.mark.parametrize("page", [None, [], {}, {"data": "x"}])
def test_what_is_no_list(page: object) -> None:
    with pytest.raises(ValueError, match="no list"):
        decode_models(page)


def test_what_is_not_told_stays_as_it_was() -> None:
    assert learn_model(FULL, {}) == FULL
