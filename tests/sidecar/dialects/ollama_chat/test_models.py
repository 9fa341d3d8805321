"""What clients are told of models, and what backends tell."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.dialects.ollama_chat.models import (
    decode_models,
    encode_greeting,
    encode_model,
    encode_models,
    encode_running,
    encode_version,
    learn_model,
)
from sidecar.wire.contract import ModelEntry

KNOWN = ModelEntry(
    "qwen3:8b",
    created=1_700_000_000,
    context=40_960,
    capabilities=frozenset({"thinking", "tools", "completion", "flying"}),
    family="qwen3",
    parameters="8.2B",
    quantization="Q4_K_M",
    size=5_225_388_164,
    digest="500a1f067a9f782620b40bee6f7b0c89e17ae61f686b92c24933e4ca4b2b8b41",
)
UNKNOWN = ModelEntry("gpt-4o")
DETAILS = {
    "parent_model": "",
    "format": "",
    "family": "qwen3",
    "families": ["qwen3"],
    "parameter_size": "8.2B",
    "quantization_level": "Q4_K_M",
    "context_length": 40_960,
}
NO_DETAILS = {
    "parent_model": "",
    "format": "",
    "family": "",
    "families": [],
    "parameter_size": "",
    "quantization_level": "",
}


def test_the_list_of_models() -> None:
    listed: Any = encode_models([KNOWN, UNKNOWN])["models"]
    digest = listed[1].pop("digest")
    assert listed == [
        {
            "name": "qwen3:8b",
            "model": "qwen3:8b",
            "modified_at": "2023-11-14T22:13:20Z",
            "size": 5_225_388_164,
            "digest": KNOWN.digest,
            "details": DETAILS,
            "capabilities": ["completion", "tools", "thinking"],
        },
        {
            "name": "gpt-4o:latest",
            "model": "gpt-4o:latest",
            "modified_at": "1970-01-01T00:00:00Z",
            "size": 0,
            "details": NO_DETAILS,
            "capabilities": ["completion", "tools"],
        },
    ]
    assert len(digest) == 64  # Ollama's command line cuts it at 12 and breaks where it is shorter


def test_one_model() -> None:
    assert encode_model(KNOWN) == {
        "modelfile": "",
        "parameters": "num_ctx                        40960",
        "template": "",
        "details": DETAILS,
        "model_info": {
            "general.architecture": "qwen3",
            "general.basename": "qwen3:8b",
            "qwen3.context_length": 40_960,
        },
        "capabilities": ["completion", "tools", "thinking"],
        "modified_at": "2023-11-14T22:13:20Z",
    }
    unknown = encode_model(UNKNOWN)
    assert unknown["model_info"] == {
        "general.architecture": "unknown",
        "general.basename": "gpt-4o",
    }
    assert (unknown["parameters"], unknown["details"]) == ("", NO_DETAILS)


def test_the_other_pages() -> None:
    assert encode_running([KNOWN]) == {"models": []}
    assert encode_greeting([]) == "Ollama is running"
    version: Any = encode_version([])["version"]
    # VS Code refuses what is older than 0.6.4
    assert [int(number) for number in version.split(".")] >= [0, 6, 4]


# --- from backends --------------------------------------------------------------------------------

TAG = {
    "name": "qwen3:8b",
    "model": "qwen3:8b",
    "modified_at": "2023-11-14T23:13:20.123456789+01:00",
    "size": 5_225_388_164,
    "digest": KNOWN.digest,
    "details": DETAILS | {"format": "gguf"},
    "capabilities": ["completion", "tools", "thinking", "flying"],
}


def test_a_backends_list() -> None:
    assert decode_models({"models": [TAG, {"name": "old"}, {}, None]}) == [KNOWN, ModelEntry("old")]
    assert decode_models(encode_models([KNOWN])) == [
        replace(KNOWN, capabilities=frozenset({"completion", "tools", "thinking"}))
    ]


@pytest.mark.parametrize("body", [None, [], {}, {"models": None}, {"models": {}}])
def test_what_is_no_list(body: object) -> None:
    with pytest.raises(ValueError, match="not a list"):
        decode_models(body)


@pytest.mark.parametrize(
    ("body", "learnt"),
    [
        ({}, {}),
        ({"details": None, "model_info": [], "parameters": 3, "capabilities": "x"}, {}),
        ({"capabilities": ["completion", "vision"]}, {"capabilities": {"completion", "vision"}}),
        (
            {"model_info": {"general.architecture": "llama", "llama.context_length": 8192}},
            {"family": "llama", "context": 8192},
        ),
        (
            {
                "details": {
                    "family": "llama",
                    "parameter_size": "8.0B",
                    "quantization_level": "Q4",
                },
                "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
                "parameters": 'stop   "<|eot|>"\nnum_ctx                        4096\ntop_k 3',
            },
            {"family": "llama", "parameters": "8.0B", "quantization": "Q4", "context": 4096},
        ),
    ],
    ids=["nothing", "nonsense", "capabilities", "model_info", "a window of its own"],
)
def test_what_is_learnt_of_a_model(body: Any, learnt: dict[str, Any]) -> None:
    assert learn_model(UNKNOWN, body) == replace(UNKNOWN, **learnt)


def test_what_is_known_stays_known() -> None:
    assert learn_model(KNOWN, {}) == KNOWN
    told = replace(KNOWN, capabilities=frozenset({"completion", "tools", "thinking"}))
    assert learn_model(ModelEntry("qwen3:8b"), encode_model(told)) == replace(
        told, created=0, size=0, digest=""
    )
