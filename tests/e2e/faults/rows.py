"""The words of the table of docs/faults.md: what each row promises, and which tests show it."""

# ruff: noqa: RUF001  # the page has dashes

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table; a row of faults may have two. `cells` and `moments` show it."""

    number: int
    backend: str
    client: str
    backends_see: str
    cells: tuple[str, ...] = ()
    moments: tuple[str, ...] = ()


NONE = "–"  # what stands in a table for "none"
ROWS = (
    Row(
        1,
        "429 with `Retry-After`, then well",
        (
            "within `retry.max_wait` (3 s): the answer of `P`. Longer: that of "
            "`F`, at once. With nowhere to go: the 429 with its header"
        ),
        ("one retry, no earlier than it said; or none, and `P` rests until then (at most 300 s)"),
        cells=(
            "short",
            "long",
            "date",
            "alone",
        ),
        moments=("test_row_1_the_primary_rests_until_it_said",),
    ),
    Row(
        2,
        "429 for ever, without a time",
        "the answer of `F`, at once",
        "one try; `P` rests for 5 s",
        cells=("no-header",),
        moments=("test_row_2_a_crowd_does_not_storm_the_primary",),
    ),
    Row(
        3,
        "500 once, then well",
        "the answer",
        "a retry on `P`; when the retry budget is spent, `F` at once",
        cells=(
            "once",
            "twice",
        ),
        moments=("test_row_3_without_budget_the_fallback_is_asked_at_once",),
    ),
    Row(
        4,
        "503 or 529 for ever",
        ("the answer of `F`; with nowhere to go, the backend's own status and message"),
        "at most three tries on `P` for each request, until it is [ejected](#ejection)",
        cells=(
            "for-ever",
            "529",
            "alone",
        ),
        moments=("test_row_4_retries_add_about_a_fifth",),
    ),
    Row(
        5,
        "refuses the connection, or resets it before the head",
        "the answer",
        (
            "a retry on a fresh connection, then `F`. A pooled connection that "
            "was already dead is replaced and counts for nothing"
        ),
        cells=(
            "refused",
            "reset",
            "reset-once",
            "hung-up-once",
        ),
        moments=("test_row_5_a_pooled_connection_that_was_dead_is_nobodys_fault",),
    ),
    Row(
        6,
        "accepts, and says nothing",
        "the answer of `F`, after the limit",
        "one try on `P`",
        cells=("silent",),
    ),
    Row(
        7,
        "sends a head or greetings, but no token within `first_token`",
        "the answer of `F`",
        "one try on `P`",
        cells=(
            "head",
            "greets",
            "pings",
        ),
    ),
    Row(
        8,
        "cuts the stream in the middle",
        (
            "the rest of the answer, where another target [repeats](#after-the-first-token) what "
            "has come; all of `F`'s, where it is assured; else an error event, no end marker, no "
            "finish reason"
        ),
        "one try each to go on with it",
        cells=(
            "reset",
            "closed",
            "clean-end",
            "half-frame",
            "done-too-early",
            "repeated",
            "not-repeated",
            "assured",
        ),
    ),
    Row(
        8,
        "cuts a whole answer",
        "the answer of `F`",
        "one try on `P`",
        cells=(
            "half-a-body",
            "reset-body",
        ),
    ),
    Row(
        9,
        "falls silent in the middle",
        "as 8, after `idle`; a whole answer: that of `F`, after `whole`",
        NONE,
        cells=(
            "silent-middle",
            "silent-body",
            "silent-repeated",
            "silent-assured",
        ),
    ),
    Row(
        10,
        "sends an event that is not JSON",
        "the answer without that event",
        NONE,
        cells=(
            "junk",
            "no-object",
        ),
    ),
    Row(
        11,
        "sends everything but the end marker; or is complete, and does not end",
        ("the answer at once, with usage where that is told; the sidecar adds the marker"),
        NONE,
        cells=(
            "no-done",
            "no-done-fin",
            "no-done-silent",
        ),
    ),
    Row(
        12,
        "400, the context is too long; or 413",
        (
            "the answer of the next target whose declared `context` is larger "
            "or unknown; else that error"
        ),
        "never the same target twice",
        cells=(
            "undeclared",
            "larger",
            "smaller",
            "alone",
        ),
    ),
    Row(
        13,
        "400, refused by its content policy",
        "that error",
        "one try; `F` only if the route's `on` says so",
        cells=(
            "policy",
            "policy-moved",
        ),
    ),
    Row(
        14,
        "as 8, and `F` refuses an assistant prefill",
        "as 8; never the refusal of the prefill",
        "one try",
        cells=("no-prefill",),
    ),
    Row(
        15,
        "503 for a minute, then well",
        "the answer of `F` meanwhile; that of `P` within 30 s of its recovery",
        "five failures, then a trial now and then",
        moments=("test_row_15_it_is_tried_now_and_then_and_answers_soon_after_its_recovery",),
    ),
    Row(
        16,
        "503 for ever",
        "model and usage are those of `F`",
        "failed tries cost nothing in the metrics",
        cells=("whose-usage",),
    ),
    Row(
        17,
        "200 with an error object",
        "the answer of `F`",
        "what the error says decides whether `P` is tried again",
        cells=(
            "error-object",
            "error-once",
            "error-once-typed",
        ),
    ),
    Row(
        18,
        "200 with HTML",
        ("the answer of `F`; with nowhere to go, a 502 that says what came instead of JSON"),
        "one try",
        cells=(
            "html",
            "html-alone",
        ),
    ),
    Row(
        19,
        "200 with nothing in it, or a stream without content",
        ("the answer of `F`. A stream that finishes properly without a word is an answer"),
        "one try",
        cells=(
            "empty",
            "not-json",
            "no-event",
            "greeting-only",
            "done-only",
            "no-words-but-finished",
        ),
    ),
    Row(
        20,
        "an error event first, or after a greeting",
        "the answer of `F`",
        "what the error says decides whether `P` is tried again",
        cells=(
            "first-event",
            "after-greeting",
        ),
    ),
    Row(
        20,
        "an error event in the middle",
        "as 8",
        NONE,
        cells=(
            "middle",
            "middle-then-done",
            "middle-finish-error",
            "middle-failed",
            "middle-repeated",
        ),
    ),
    Row(21, "whole JSON for `stream: true`", "a correct stream", NONE, cells=("json",)),
    Row(
        22,
        "a stream for a request for JSON",
        "correct JSON; a cut one counts as a failed try",
        NONE,
        cells=(
            "sse",
            "sse-cut",
            "sse-cut-clean",
        ),
    ),
    Row(
        23,
        "single bytes, CRLF, characters cut in two, events of 2 MiB, gzip",
        "the answer, unharmed",
        NONE,
        cells=(
            "byte-by-byte",
            "in-threes",
            "crlf",
            "gzip",
            "one-event-of-2-mib",
            "large-and-cut-up",
        ),
    ),
    Row(
        24,
        "huge or endless headers, an endless body",
        "the answer of `F`; memory stays bounded",
        NONE,
        cells=(
            "big-header",
            "endless-header",
            "endless-headers",
            "endless-body",
        ),
        moments=("test_row_24_memory_stays_bounded",),
    ),
    Row(
        25,
        "401, 402 or 403 for the sidecar's own key",
        (
            "the answer of `F`; with nowhere to go, a 502. "
            '`attempts_total{outcome="auth"}` counts it: the operator\'s fault. '
            "A key forwarded from the client: the client's own error, at once"
        ),
        "each of the backend's keys once; with one key one try",
        cells=(
            "401",
            "403",
        ),
        moments=("test_row_25_each_further_key_is_tried_once_and_the_good_one_stays",),
    ),
    Row(
        26,
        "404, unknown model",
        "the answer of `F`; when nobody has it, a 404 with the nearest names",
        "one try each",
        cells=(
            "unknown",
            "unknown-to-all",
        ),
    ),
    Row(
        27,
        "– (the client leaves)",
        NONE,
        "the call is cancelled; nobody is blamed, nothing stays in flight",
        moments=(
            "test_row_27_the_client_leaves",
            "test_row_27_the_client_leaves_a_stream_that_it_hears",
            "test_row_27_the_client_leaves_while_a_retry_waits",
            "test_row_27_who_leaves_with_the_whole_answer_did_not_leave_early",
        ),
    ),
    Row(
        28,
        "– (the client reads slowly)",
        "everything, in order",
        ("is held back meanwhile; memory stays bounded. Who takes nothing for 5 min has left"),
        moments=("test_row_28_a_slow_reader_slows_the_backend",),
    ),
    Row(
        29,
        "nobody can be asked",
        "503 with `Retry-After`, and what is wrong with each target",
        NONE,
        cells=("all-closed",),
        moments=("test_row_29_all_targets_rest",),
    ),
    Row(
        30,
        "DNS fails; the certificate is invalid or has expired",
        "the answer of `F`; each has its own plain reason",
        "one try",
        cells=(
            "dns",
            "tls-stranger",
            "tls-expired",
            "tls-well",
            "no-name-alone",
            "tls-stranger-alone",
            "tls-expired-alone",
        ),
        moments=("test_row_30_every_target_has_its_own_plain_reason",),
    ),
    Row(
        31,
        "– (the configuration changes in mid-stream)",
        "the stream ends on the configuration that it began with",
        NONE,
        moments=(
            "test_row_31_a_stream_ends_on_the_configuration_that_it_began_with",
            "test_row_31_an_answer_comes_from_the_configuration_that_it_was_asked_of",
        ),
    ),
    Row(
        32,
        "– (SIGTERM in mid-stream)",
        "the stream ends well within the drain; past it, an error event",
        NONE,
        moments=(
            "test_row_32_a_stream_ends_well_within_the_drain",
            "test_row_32_past_the_drain_the_stream_ends_honestly",
        ),
    ),
)
