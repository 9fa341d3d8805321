"""Token counts under one convention."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer.

    `input_tokens` includes the cached ones and `output_tokens` includes reasoning, so the two
    are what a backend bills; the other fields are parts of them.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0  # read from a cache
    reasoning_output_tokens: int = 0
    cache_write_input_tokens: int = 0  # written to a cache
    is_estimated: bool = False  # the backend did not tell it
    # seconds that the model took to load before, where that was told; no part of what was used
    load: float = field(default=0.0, compare=False)
