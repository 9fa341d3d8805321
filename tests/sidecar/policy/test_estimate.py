"""How big requests are, whatever their dialect."""

import base64
import json
import struct

import pytest

from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.usage import Usage
from sidecar.policy.estimate import (
    MOST_VALUES,
    PICTURE_TOKENS,
    Measure,
    characters,
    estimate,
    estimated_usage,
    measure,
)

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 750, 500)
PNG_TOKENS = 500
B64 = base64.b64encode(PNG + bytes(3000)).decode()
PDF = base64.b64encode(b"%PDF" + bytes(49_994)).decode()
PDF_TOKENS = 2000
REMOTE = "https://example.org/cat.png"


def said(*content: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": list(content)}]}


def anthropic(kind: str, media: str, data: str) -> dict[str, object]:
    return {"type": kind, "source": {"type": "base64", "media_type": media, "data": data}}


@pytest.mark.parametrize(
    ("body", "fixed"),
    [
        (said({"type": "text", "text": "data:image/png;base64,AAAA"}), 0),
        (said({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}"}}), 500),
        (said({"type": "image_url", "image_url": {"url": REMOTE}}), PICTURE_TOKENS),
        (said(anthropic("image", "image/png", B64)), PNG_TOKENS),
        (said({"type": "image", "source": {"type": "url", "url": REMOTE}}), PICTURE_TOKENS),
        (
            said({"type": "tool_result", "content": [anthropic("image", "image/png", B64)] * 2}),
            2 * PNG_TOKENS,
        ),
        (said(anthropic("document", "application/pdf", PDF)), PDF_TOKENS),
        (
            said({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}}),
            PDF_TOKENS,
        ),
        ({"input": [{"content": [{"type": "input_file", "file_data": PDF}]}]}, PDF_TOKENS),
        (
            {
                "input": [
                    {
                        "type": "function_call_output",
                        "output": [{"image_url": f"data:image/png;base64,{B64}"}],
                    }
                ]
            },
            PNG_TOKENS,
        ),
        (said({"type": "input_audio", "input_audio": {"data": PDF, "format": "mp3"}}), PDF_TOKENS),
        ({"messages": [{"role": "user", "content": "see", "images": [B64, B64]}]}, 2 * PNG_TOKENS),
        ({"prompt": "see", "images": [B64]}, PNG_TOKENS),
        (said(anthropic("image", "image/png", "not base64 !")), PICTURE_TOKENS),
        (said(anthropic("image", "image/png", "é")), PICTURE_TOKENS),
        (said({"type": "redacted_thinking", "data": B64}), 0),
        (said({"type": "thinking", "thinking": "hm", "signature": B64}), 0),
        ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": B64}]}, 0),
    ],
)
def test_pictures_and_files_count_by_their_size_and_never_as_text(
    body: dict[str, object], fixed: int
) -> None:
    size = measure(body)
    assert size.fixed == fixed
    assert size.units < 200


def test_a_huge_picture_counts_as_one_that_is_scaled_down() -> None:
    huge = PNG.replace(struct.pack(">II", 750, 500), struct.pack(">II", 50_000, 50_000))
    body = said(anthropic("image", "image/png", base64.b64encode(huge).decode()))
    assert measure(body).fixed == PICTURE_TOKENS


LONG = "word " * 200


@pytest.mark.parametrize(
    "body",
    [
        {"system": LONG},
        {"system": [{"type": "text", "text": LONG}]},
        {"instructions": LONG},
        {"input": LONG},
        {"prompt": LONG},
        said({"type": "text", "text": LONG}),
        said({"type": "thinking", "thinking": LONG}),
        said({"type": "tool_use", "name": "f", "input": {"text": LONG}}),
        said({"type": "tool_result", "content": LONG}),
        said({"type": "document", "source": {"type": "text", "data": LONG}}),
        {"messages": [{"role": "assistant", "reasoning_content": LONG}]},
        {"messages": [{"tool_calls": [{"function": {"name": "f", "arguments": LONG}}]}]},
        {"tools": [{"function": {"name": "f", "parameters": {"description": LONG}}}]},
        {"tools": [{"function": {"name": "f", "parameters": {"properties": {LONG: {}}}}}]},
        {"tools": [{"function": {"parameters": {"images": [LONG], "signatures": 1}}}]},
        {"response_format": {"json_schema": {"schema": {"description": LONG}}}},
    ],
)
def test_all_that_a_model_reads_counts(body: dict[str, object]) -> None:
    size = measure(body)
    assert len(LONG) < size.units < len(LONG) + 100
    assert size.fixed == 0


def test_structure_costs_about_what_it_is_written_with() -> None:
    tools = [
        {
            "name": f"f{n}",
            "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}},
        }
        for n in range(50)
    ]
    written = len(json.dumps(tools))
    assert 0.5 * written < measure({"tools": tools}).units < 1.1 * written


def test_bookkeeping_does_not_count() -> None:
    body = {"model": LONG, "metadata": {"user_id": LONG}, "user": LONG}
    assert measure(body) == Measure(0)


def test_text_counts_by_its_bytes() -> None:
    plain, foreign = measure({"prompt": "a" * 300}), measure({"prompt": "語" * 300})
    assert foreign.units - plain.units == 600
    assert measure({"prompt": "\ud800"}).units - measure({"prompt": ""}).units == 3


def test_a_token_id_is_about_one_token() -> None:
    assert 1000 <= estimate(measure({"prompt": list(range(1000))}), 0.25) < 1010


def test_what_is_too_deep_to_recurse_into_counts() -> None:
    deep: object = LONG
    for _ in range(5000):
        deep = [deep]
    assert measure({"input": deep}).units > len(LONG)


@pytest.mark.parametrize("value", [[0] * (3 * MOST_VALUES), {str(n): 0 for n in range(300_000)}])
def test_no_more_than_so_many_values_are_looked_at(value: object) -> None:
    per_value = 12  # bytes at most
    assert MOST_VALUES * 4 <= measure({"input": value}).units <= MOST_VALUES * per_value


@pytest.mark.parametrize(
    ("size", "ratio", "tokens"),
    [(Measure(0), 0.25, 0), (Measure(100), 0.25, 25), (Measure(101, 7), 0.25, 33)],
)
def test_an_estimate_is_text_by_ratio_and_what_is_fixed(
    size: Measure, ratio: float, tokens: int
) -> None:
    assert estimate(size, ratio) == tokens


def test_the_characters_of_an_answer() -> None:
    parts = (
        Thinking("hm"),
        Text("four"),
        Refusal("no"),
        ToolCall("call_1", "find", "{}"),
        Opaque("anthropic", "server_tool_use", {"type": "server_tool_use"}),
    )
    assert characters(parts) == 2 + 4 + 2 + 6
    assert characters(()) == 0


@pytest.mark.parametrize(("written", "tokens"), [(0, 0), (1, 1), (8, 2), (9, 3)])
def test_usage_that_never_came_is_estimated(written: int, tokens: int) -> None:
    assert estimated_usage(70, written) == Usage(70, tokens, is_estimated=True)
