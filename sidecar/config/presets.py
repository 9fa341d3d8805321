"""What vendors' backends have in common: defaults, as data. Any key of a backend overrides them.

`base_url` None means that the file must say it. A preset's key is sent to the preset's own address
only. Default models are the vendor's cheap general one, for requests that name none. Traits are
what is known of a vendor and nobody configures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sidecar.config.snapshot import Place
from sidecar.wire.contract import Traits


@dataclass(frozen=True, slots=True)
class Key:
    """The variable that usually holds a vendor's key, and where the key goes."""

    env: str
    place: Place = "bearer"
    name: str = "authorization"


@dataclass(frozen=True, slots=True)
class Preset:
    """The defaults of one kind of backend."""

    base_url: str | None = None
    dialect: str = "openai"
    path: str = "{path}"  # around the dialect's path
    query: Mapping[str, str] = field(default_factory=dict)
    key: Key | None = None
    model: str | None = None
    usage_in_stream: Literal["on_request", "always", "never"] = "on_request"
    traits: Traits = field(default_factory=Traits)
    echo: bool = False


PRESETS: Mapping[str, Preset] = {
    "openai": Preset(
        base_url="https://api.openai.com/v1",
        key=Key("OPENAI_API_KEY"),
        model="gpt-6-luna",
        traits=Traits(max_tokens="max_completion_tokens", late_system=True),
    ),
    "anthropic": Preset(
        base_url="https://api.anthropic.com",
        dialect="anthropic",
        key=Key("ANTHROPIC_API_KEY", "header", "x-api-key"),
        model="claude-haiku-5-5",
    ),
    "ollama": Preset(base_url="http://127.0.0.1:11434", dialect="ollama"),
    "qwen": Preset(
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key=Key("DASHSCOPE_API_KEY"),
        model="qwen-plus",
        traits=Traits(reasoning="reasoning_content"),
    ),
    "qwen-cn": Preset(
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        key=Key("DASHSCOPE_API_KEY"),
        model="qwen-plus",
        traits=Traits(reasoning="reasoning_content"),
    ),
    "qwen-us": Preset(
        base_url="https://dashscope-us.aliyuncs.com/compatible-mode/v1",
        key=Key("DASHSCOPE_API_KEY"),
        model="qwen-plus-us",
        traits=Traits(reasoning="reasoning_content"),
    ),
    "mistral": Preset(
        base_url="https://api.mistral.ai/v1",
        key=Key("MISTRAL_API_KEY"),
        model="mistral-small-latest",
        usage_in_stream="always",  # and `stream_options` is answered with a 422
        traits=Traits(reasoning_effort=False),  # two models take it, and only none and high
    ),
    "groq": Preset(
        base_url="https://api.groq.com/openai/v1",
        key=Key("GROQ_API_KEY"),
        model="openai/gpt-oss-120b",
        traits=Traits(reasoning_effort=False),  # each model has words of its own, or a 400
    ),
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1",
        key=Key("OPENROUTER_API_KEY"),
        model="openrouter/auto",
        traits=Traits(reasoning="reasoning", more_sampling=True),
    ),
    "deepseek": Preset(
        base_url="https://api.deepseek.com/v1",
        key=Key("DEEPSEEK_API_KEY"),
        model="deepseek-flash",
        traits=Traits(reasoning="reasoning_content"),
    ),
    "together": Preset(
        base_url="https://api.together.ai/v1",
        key=Key("TOGETHER_API_KEY"),
        model="openai/gpt-oss-120b",
        traits=Traits(more_sampling=True),
    ),
    "gemini": Preset(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key=Key("GEMINI_API_KEY"),
        model="gemini-flash-latest",
        traits=Traits(signs_calls=True),
    ),
    "azure-openai": Preset(
        path="/openai/deployments/{deployment}{path}",
        query={"api-version": "2024-10-21"},
        key=Key("AZURE_OPENAI_API_KEY", "header", "api-key"),
        traits=Traits(max_tokens="max_completion_tokens", late_system=True),
    ),
    "vllm": Preset(
        base_url="http://127.0.0.1:8000/v1",
        # reasoning was once `reasoning_content`
        traits=Traits(reasoning="reasoning", more_sampling=True, continue_final=True),
    ),
    "llama-cpp": Preset(
        base_url="http://127.0.0.1:8080/v1",
        traits=Traits(reasoning="reasoning_content", more_sampling=True),
    ),
    "lm-studio": Preset(base_url="http://127.0.0.1:1234/v1", traits=Traits(more_sampling=True)),
    "echo": Preset(model="echo", echo=True),
}
