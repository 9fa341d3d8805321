"""What vendors' backends have in common: defaults, as data. Any key of a backend overrides them.

`base_url` None means that the file must say it. A preset's key is sent to the preset's own address
only. Default models are the vendor's cheap general one, for requests that name none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Key:
    """The variable that usually holds a vendor's key, and where the key goes."""

    env: str
    place: Literal["bearer", "header", "query"] = "bearer"
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
    pasted: tuple[str, ...] = ()  # paths of other dialects that people leave in a base URL
    echo: bool = False


PRESETS: Mapping[str, Preset] = {
    "openai": Preset(
        base_url="https://api.openai.com/v1",
        key=Key("OPENAI_API_KEY"),
        model="gpt-6-luna",
    ),
    "ollama": Preset(
        base_url="http://127.0.0.1:11434",
        path="/v1{path}",
        pasted=("/api/chat", "/api/generate", "/api/tags", "/api"),
    ),
    "qwen": Preset(
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key=Key("DASHSCOPE_API_KEY"),
        model="qwen-plus",
    ),
    "qwen-cn": Preset(
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        key=Key("DASHSCOPE_API_KEY"),
        model="qwen-plus",
    ),
    "qwen-us": Preset(
        base_url="https://dashscope-us.aliyuncs.com/compatible-mode/v1",
        key=Key("DASHSCOPE_API_KEY"),
        model="qwen-plus-us",
    ),
    "mistral": Preset(
        base_url="https://api.mistral.ai/v1",
        key=Key("MISTRAL_API_KEY"),
        model="mistral-small-latest",
        usage_in_stream="always",  # and `stream_options` is answered with a 422
    ),
    "groq": Preset(
        base_url="https://api.groq.com/openai/v1",
        key=Key("GROQ_API_KEY"),
        model="openai/gpt-oss-120b",
    ),
    "openrouter": Preset(
        base_url="https://openrouter.ai/api/v1",
        key=Key("OPENROUTER_API_KEY"),
        model="openrouter/auto",
    ),
    "deepseek": Preset(
        base_url="https://api.deepseek.com/v1",
        key=Key("DEEPSEEK_API_KEY"),
        model="deepseek-flash",
    ),
    "together": Preset(
        base_url="https://api.together.ai/v1",
        key=Key("TOGETHER_API_KEY"),
        model="openai/gpt-oss-120b",
    ),
    "gemini": Preset(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key=Key("GEMINI_API_KEY"),
        model="gemini-flash-latest",
    ),
    "azure-openai": Preset(
        path="/openai/deployments/{deployment}{path}",
        query={"api-version": "2024-10-21"},
        key=Key("AZURE_OPENAI_API_KEY", "header", "api-key"),
    ),
    "vllm": Preset(base_url="http://127.0.0.1:8000/v1"),
    "llama-cpp": Preset(base_url="http://127.0.0.1:8080/v1"),
    "lm-studio": Preset(base_url="http://127.0.0.1:1234/v1"),
    "echo": Preset(model="echo", echo=True),
}
