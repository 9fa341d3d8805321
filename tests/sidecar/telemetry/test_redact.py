"""Every place in which a credential could stand, and words that only look like one."""

import tracemalloc

import pytest

from sidecar.telemetry.redact import Redactor

KEY = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"key {KEY}!", "key ***!"),
        (f"{KEY}-longer and {KEY}", "*** and ***"),
        ('a\\"b%40c in JSON', "*** in JSON"),
        ("a%22b%2540c in an address", "*** in an address"),
        ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer ***"),
        ("{'authorization': 'bearer abcdefgh'}", "{'authorization': 'bearer ***'}"),
        ("Proxy-Authorization: Basic dXNlcjpwYXNz", "Proxy-Authorization: Basic ***"),
        ('{"authorization": "abcdefghij"}', '{"authorization": "***"}'),
        ("x-api-key: abcdefgh", "x-api-key: ***"),
        ("{'api-key': 'abcdefgh'}", "{'api-key': '***'}"),
        ("x-goog-api-key=abcdefgh", "x-goog-api-key=***"),
        ("https://x.example/v1?key=abc&alt=sse", "https://x.example/v1?key=***&alt=sse"),
        ("https://user:pw@x.example/", "https://***@x.example/"),
        ("Incorrect API key provided: sk-proj-abc123", "Incorrect API key provided: ***"),
        ("sk-ant-api03-xyz_1", "***"),
        ("gsk_abcdefgh and AIzaSyA1234567890abcdefghij", "*** and ***"),
    ],
)
def test_credentials_are_masked(text: str, masked: str) -> None:
    redact = Redactor([KEY, f"{KEY}-longer", 'a"b%40c', "", "abc"])
    assert redact(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "set HF_API_TOKEN or OPENAI_API_KEY",
        "auth: {bearer: {env: OPENAI_API_KEY}}",
        "replace: [sk-ant-*]",
        "a bearer token is missing",
        "unknown key 'api_key': expected auth",
        "backend ollama at http://127.0.0.1:11434/v1 answered",
        "task-sk-12 is no key, disk-formatting neither",
        "model qwen2.5-7b-instruct",
    ],
)
def test_words_are_left_alone(text: str) -> None:
    assert Redactor(["ollama", "none", "abc"])(text) == text


def test_a_secret_stays_known_after_a_reload() -> None:
    redact = Redactor(["old-secret-value"])
    redact.learn(["new-secret-value"])
    assert redact("old-secret-value new-secret-value") == "*** ***"


def test_a_short_secret_that_is_no_word_is_masked() -> None:
    assert Redactor(["s3cr3t"])("it is s3cr3t") == "it is ***"


def test_secrets_of_long_ago_take_no_memory() -> None:
    redact = Redactor()

    def learn(times: int) -> None:
        for number in range(times):
            redact.learn([f"{number:04}-{KEY * 20}"])

    learn(20)
    tracemalloc.start()
    try:
        learn(200)
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 200_000  # bytes; what the latest eight configurations take
