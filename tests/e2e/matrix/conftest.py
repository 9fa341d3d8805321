"""The scenarios stand beside the tests and assert like them; their assertions are to explain."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.e2e.matrix.scenarios", "tests.e2e.matrix.table")
