"""Models by their names, as vendors write them."""

import pytest

from sidecar.dialects.anthropic_messages.abilities import NEWEST, Thinks, abilities_of

NEVER, BUDGET, ADAPTIVE = Thinks.NEVER, Thinks.BUDGET, Thinks.ADAPTIVE


@pytest.mark.parametrize(
    ("model", "thinks", "unasked", "off"),
    [
        ("claude-3-haiku-20240307", NEVER, False, None),
        ("claude-3-5-sonnet-latest", NEVER, False, None),
        ("claude-3-7-sonnet-20250219", BUDGET, False, None),
        ("claude-opus-4-20250514", BUDGET, False, None),
        ("claude-opus-4-1@20250805", BUDGET, False, None),
        ("anthropic/claude-sonnet-4.5", BUDGET, False, None),
        ("us.anthropic.claude-opus-4-6-v1", ADAPTIVE, False, None),
        ("claude-opus-4-8", ADAPTIVE, False, None),
        ("claude-sonnet-5", ADAPTIVE, True, "disabled"),
        ("claude-opus-5-20260724", ADAPTIVE, True, "disabled"),
        ("claude-haiku-5-5", ADAPTIVE, True, "disabled"),
        ("claude-sonnet-5-5", ADAPTIVE, True, "between_tools"),
        ("claude-opus-5-5", ADAPTIVE, True, None),
        ("Claude-Fable-5-2", ADAPTIVE, True, None),
        ("glm-4.6", BUDGET, False, "disabled"),
        (None, BUDGET, False, "disabled"),
    ],
)
def test_thinking(model: str | None, thinks: Thinks, unasked: bool, off: str | None) -> None:
    found = abilities_of(model)
    assert (found.thinks, found.thinks_unasked, found.off) == (thinks, unasked, off)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-3-5-haiku-20241022", {"samples", "can_be_forced", "continues"}),
        (
            "claude-haiku-4-5-20251001",
            {"samples", "can_be_forced", "continues", "has_schemas", "needs_history"},
        ),
        ("claude-sonnet-4-6", {"samples", "can_be_forced", "has_schemas"}),
        ("claude-opus-4-7", {"can_be_forced", "has_schemas"}),
        ("claude-sonnet-5", {"can_be_forced", "has_schemas"}),
        ("claude-opus-5-5", {"has_schemas"}),
        ("qwen3:8b", {"samples", "can_be_forced", "continues"}),
    ],
)
def test_what_a_model_takes(model: str, expected: set[str]) -> None:
    found = abilities_of(model)
    flags = ("samples", "can_be_forced", "continues", "has_schemas", "needs_history")
    assert {name for name in flags if getattr(found, name)} == expected


def test_an_unknown_one_is_taken_for_the_newest() -> None:
    assert abilities_of("claude-something-9") is NEWEST
