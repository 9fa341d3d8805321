"""What SDKs say of themselves, and what nobody can mean."""

import math
from collections.abc import Mapping

import pytest

from sidecar.dataplane.patience import Patience, patience

READ, WHOLE, RETRY = (
    "x-stainless-read-timeout", "x-stainless-timeout", "x-stainless-retry-count",
)  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, Patience()),
        ({READ: "600"}, Patience(600.0)),
        ({READ: "2.5"}, Patience(2.5)),
        ({WHOLE: "60"}, Patience(60.0)),
        ({READ: "600.0", WHOLE: "59"}, Patience(59.0)),
        ({READ: "None", WHOLE: "0"}, Patience()),
        ({READ: "-1"}, Patience()),
        ({READ: "nan", WHOLE: "inf"}, Patience()),
        ({READ: "1_0"}, Patience()),
        ({READ: "Timeout(5)", WHOLE: "30"}, Patience(30.0)),
        ({READ: "9" * 400}, Patience()),
        ({RETRY: "0"}, Patience(math.inf, 0)),
        ({RETRY: " 2 "}, Patience(math.inf, 2)),
        ({RETRY: "-1"}, Patience()),
        ({RETRY: "two"}, Patience()),
        ({RETRY: "1.0"}, Patience()),
        ({RETRY: "²"}, Patience()),
    ],
)
def test_patience(headers: Mapping[str, str], told: Patience) -> None:
    assert patience(headers) == told
