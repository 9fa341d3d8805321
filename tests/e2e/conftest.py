"""What judges a fault stands beside the tests and asserts like them; it is to explain itself."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "tests.e2e.faults.hearing", "tests.e2e.faults.judge", "tests.e2e.faults.wants"
)
