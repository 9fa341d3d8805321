"""Token counts under one convention."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer.

    `input_tokens` includes the cached ones and `output_tokens` includes reasoning, so the two
    are what a backend bills; the other fields are parts of them.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_output_tokens: int = 0
