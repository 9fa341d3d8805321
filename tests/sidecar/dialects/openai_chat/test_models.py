"""The list of models, as clients read it and as vendors write it."""

from typing import Any

import pytest

from sidecar.dialects.openai_chat.models import decode_models, encode_model, encode_models
from sidecar.wire.contract import ModelEntry

CHAT = ModelEntry("chat", "llm-sidecar", 1_700_000_000)


def test_a_model_and_a_list_of_them() -> None:
    one = {"id": "chat", "object": "model", "created": 1_700_000_000, "owned_by": "llm-sidecar"}
    assert encode_model(CHAT) == one
    assert encode_models([CHAT]) == {"object": "list", "data": [one]}
    assert encode_models([]) == {"object": "list", "data": []}


def test_clients_read_how_much_a_model_takes() -> None:
    told = encode_model(ModelEntry("chat", context=8192))
    assert (told["context_length"], told["max_model_len"]) == (8192, 8192)


CHATS = frozenset({"completion"})


@pytest.mark.parametrize(
    ("told", "entry"),
    [
        pytest.param(
            {"id": "gpt-4o", "object": "model", "created": 5, "owned_by": "openai"},
            ModelEntry("gpt-4o", "openai", 5),
            id="OpenAI",
        ),
        pytest.param(
            {"id": "q", "max_model_len": 32768, "owned_by": "vllm"},
            ModelEntry("q", "vllm", context=32768),
            id="vLLM",
        ),
        pytest.param(
            {"id": "l", "context_window": 131072, "max_completion_tokens": 8192},
            ModelEntry("l", context=131072, max_output=8192),
            id="Groq",
        ),
        pytest.param(
            {
                "id": "m",
                "max_context_length": 131072,
                "capabilities": {
                    "completion_chat": True,
                    "function_calling": True,
                    "vision": False,
                    "completion_fim": True,
                },
            },
            ModelEntry("m", context=131072, capabilities=CHATS | {"tools", "insert"}),
            id="Mistral",
        ),
        pytest.param(
            {
                "id": "o",
                "context_length": 200000,
                "architecture": {"input_modalities": ["text", "image"]},
                "top_provider": {"max_completion_tokens": 64000},
                "supported_parameters": ["tools", "reasoning", "temperature"],
            },
            ModelEntry(
                "o",
                context=200000,
                max_output=64000,
                capabilities=CHATS | {"tools", "vision", "thinking"},
            ),
            id="OpenRouter",
        ),
        pytest.param(
            {"id": "g", "meta": {"n_ctx_train": 8192, "size": 4_000}},
            ModelEntry("g", context=8192, size=4_000),
            id="llama.cpp",
        ),
        pytest.param(
            {
                "id": "s",
                "type": "vlm",
                "publisher": "lm",
                "arch": "qwen2_vl",
                "quantization": "4bit",
                "max_context_length": 32768,
                "capabilities": ["tool_use"],
            },
            ModelEntry(
                "s",
                "lm",
                context=32768,
                capabilities=CHATS | {"vision", "tools"},
                family="qwen2_vl",
                quantization="4bit",
            ),
            id="LM Studio",
        ),
        pytest.param(
            {"id": "e", "type": "embedding", "organization": "BAAI", "context_length": 512},
            ModelEntry("e", "BAAI", context=512, capabilities=frozenset({"embedding"})),
            id="Together",
        ),
        pytest.param(
            {"id": "f", "supports_chat": True, "supports_tools": True, "context_length": 1024},
            ModelEntry("f", context=1024, capabilities=CHATS | {"tools"}),
            id="Fireworks",
        ),
        pytest.param({"name": "n"}, ModelEntry("n"), id="a name for an id"),
        pytest.param(
            {"id": "x", "context_length": "many", "created": "today", "capabilities": 3},
            ModelEntry("x"),
            id="what cannot be read is not known",
        ),
    ],
)
def test_what_vendors_tell(told: Any, entry: ModelEntry) -> None:
    assert decode_models({"data": [told]}) == [entry]
    assert decode_models([told]) == decode_models({"models": [told]}) == [entry]


def test_entries_that_are_none_are_left_out() -> None:
    assert decode_models({"data": [None, "x", {}, {"id": 3}, {"id": "a"}]}) == [ModelEntry("a")]
    assert decode_models({"data": []}) == []


@pytest.mark.parametrize("body", [None, "x", {}, {"data": {}}, []])
def test_what_is_no_list(body: object) -> None:
    with pytest.raises(ValueError, match="not a list"):
        decode_models(body)
