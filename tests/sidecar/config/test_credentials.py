"""What looks like a credential."""

import pytest

from sidecar.config.credentials import is_key, names_one, names_variable


@pytest.mark.parametrize(
    "name",
    ["Authorization", "proxy-authorization", "cookie", "set-cookie", "api-key", "apikey", "api_key",
     "x-api-key", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key", "key", "x-auth-token", "token",
     "access_token", "x-auth", "CF-Access-Client-Secret", "password", "sig", "x-amz-signature"],
)  # fmt: skip
def test_names_of_credentials(name: str) -> None:
    assert names_one(name)


@pytest.mark.parametrize(
    "name",
    ["x-team", "api-version", "openai-organization", "http-referer", "x-title", "x-cache-key",
     "idempotency-key", "max-tokens", "author", "monkey", "design"],
)  # fmt: skip
def test_other_names(name: str) -> None:
    assert not names_one(name)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("Bearer abc", True), ("sk-abcdefgh", True), ("eyJhbGciOi.x.y", True),
     ("team-7", False), ("my-project-2026-production-eu", False), ("sk-SK", False),
     ("bearer", False), ("key-value", False)],
)  # fmt: skip
def test_values_that_surely_are_keys(value: str, expected: bool) -> None:
    assert is_key(value) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("OPENAI_API_KEY", True), ("CUSTOM_BACKEND_1_API_KEY_OF_PRODUCTION", True), ("KEY", True),
     ("ABCDEF0123456789ABCDEF0123456789", False), ("SK_ABCDEF0123456789ABCDEF0123456789", False),
     ("sk_live_1234", False), ("my_key", False)],
)  # fmt: skip
def test_names_of_variables(name: str, expected: bool) -> None:
    assert names_variable(name) is expected
