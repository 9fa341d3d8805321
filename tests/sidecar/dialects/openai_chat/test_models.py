"""The list of models, as clients read it."""

from sidecar.dialects.openai_chat.models import encode_model, encode_models
from sidecar.wire.contract import ModelEntry

CHAT = ModelEntry("chat", "llm-sidecar", 1_700_000_000)


def test_a_model_and_a_list_of_them() -> None:
    one = {"id": "chat", "object": "model", "created": 1_700_000_000, "owned_by": "llm-sidecar"}
    assert encode_model(CHAT) == one
    assert encode_models([CHAT]) == {"object": "list", "data": [one]}
    assert encode_models([]) == {"object": "list", "data": []}
