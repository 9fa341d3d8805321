"""Why a child ended: every row of what is known of its exits."""

from __future__ import annotations

import pytest

from tunnel.causes import MOST, cause_of
from tunnel.events import Cause

HELP = "Incorrect Usage: flag provided but not defined: -output\n\nNAME:\n   cloudflared tunnel\n"
SEE = "See 'cloudflared tunnel run --help'."
SHUTDOWN = "Initiating shutdown error="


@pytest.mark.parametrize(
    ("code", "words", "output", "cause", "said"),
    [
        (0, [], HELP, Cause.FLAGS, "flag provided but not defined: -output"),
        (0, ["Incorrect Usage. flag x"], "", Cause.FLAGS, "flag x"),
        (0, [], "NAME:\n  cloudflared\n\nUSAGE:\n  cloudflared\n", Cause.FLAGS, "its help"),
        (0, [], "", Cause.UNKNOWN, "exit code 0"),
        (0, ["connection with edge closed"], "garbage", Cause.UNKNOWN, "exit code 0"),
        (255, ["Provided Tunnel token is not valid.", SEE], "", Cause.CREDENTIAL, "not valid"),
        (255, ["Failed to read token file: no such file"], "", Cause.CREDENTIAL, "token file"),
        (255, ['"tunnel run" requires the ID or name'], "", Cause.CREDENTIAL, "ID or name"),
        (255, [], "", Cause.CREDENTIAL, "exit code 255"),
        (1, ["error parsing YAML in config file at /dev/null"], "", Cause.CONFIG, "YAML"),
        (1, ["The last ingress rule must match all URLs"], "", Cause.CONFIG, "ingress"),
        (1, ["unknown protocol h3, Available protocols"], "", Cause.CONFIG, "protocol"),
        (1, ["invalid value for edge-ip-version: 5"], "", Cause.CONFIG, "edge-ip-version"),
        (1, ["grace-period must be equal or less than 3m0s"], "", Cause.CONFIG, "3m0s"),
        (1, ["You did not specify any valid additional argument"], "", Cause.CONFIG, "argument"),
        (1, ["Tunnel credentials file '/x' doesn't exist"], "", Cause.CREDENTIAL, "exist"),
        (1, ["Invalid JSON when parsing credentials file: x"], "", Cause.CREDENTIAL, "JSON"),
        (1, ["Cannot determine default origin certificate path"], "", Cause.CREDENTIAL, "path"),
        (1, ["Error opening metrics server listener: in use"], "", Cause.PORT, "in use"),
        (1, ["failed to bind to address (127.0.0.1:x)"], "", Cause.PORT, "bind"),
        (1, ["Could not lookup srv records on _v2"], "", Cause.DNS, "srv"),
        (
            1,
            [f'{SHUTDOWN}"account is blocked"', "account is blocked"],
            "",
            Cause.EDGE,
            "account is blocked",
        ),
        (1, ["initial tunnel connection failed error=x", "x"], "", Cause.EDGE, "x"),
        (
            1,
            ["Register tunnel error from server side error=x", "bad credentials"],
            "",
            Cause.EDGE,
            "b",
        ),
        (1, ["connection with edge closed"], "", Cause.EDGE, "closed"),
        (1, ["x", "Unauthorized: Tunnel not found"], "", Cause.UNAUTHORIZED, "not found"),
        (1, ['failed to request quick Tunnel: Post "https://api'], "", Cause.QUICK, "request"),
        (1, ["failed to parse quick Tunnel ID: invalid UUID length: 0"], "", Cause.QUICK, "UUID"),
        (
            1,
            [
                "Error unmarshaling QuickTunnel response: error status_code=429 Too Many Requests",
                "failed to unmarshal quick Tunnel: invalid character 'e'",
            ],
            "",
            Cause.QUICK_LIMITED,
            "too many quick tunnels",
        ),
        (1, [], "", Cause.UNKNOWN, "exit code 1"),
        (10, [], "", Cause.UNKNOWN, "exit code 10"),
        (11, [], "", Cause.UPDATED, "newer version"),
        (2, ["panic: runtime error"], "", Cause.UNKNOWN, "panic: runtime error"),
        (2, ["runtime: pthread_create failed"], "", Cause.RESOURCES, "pthread_create"),
        (126, ["setpriv: failed to execute x: Exec format error"], "", Cause.BINARY, "format"),
        (127, ["setpriv: failed to execute x: No such file"], "", Cause.BINARY, "No such file"),
        (-13, [], "", Cause.UNKNOWN, "SIGPIPE"),
        (-6, ["fatal error: x"], "", Cause.UNKNOWN, "SIGABRT"),
        (-9, [], "", Cause.UNKNOWN, "SIGKILL"),
        (-15, [], "", Cause.UNKNOWN, "SIGTERM"),
        (-64, [], "", Cause.UNKNOWN, "SIGRTMAX"),
        (-99, [], "", Cause.UNKNOWN, "signal 99"),
    ],
)
def test_causes(code: int, words: list[str], output: str, cause: Cause, said: str) -> None:
    found, message = cause_of(code, asked=False, carried=False, words=words, output=output)
    assert found is cause
    assert said in message
    assert cause_of(code, asked=True, carried=False, words=words)[0] is Cause.ASKED


@pytest.mark.parametrize("code", [0, 1, 255, 127])
def test_what_carried_once_has_no_permanent_fault(code: int) -> None:
    words = ["ingress credentials YAML", "Incorrect Usage: x"]
    before = cause_of(code, asked=False, carried=False, words=words)[0]
    after = cause_of(code, asked=False, carried=True, words=words)[0]
    assert (before.is_permanent, after) == (True, Cause.UNKNOWN)


def test_a_sentence_is_short() -> None:
    assert len(cause_of(1, asked=False, carried=False, words=["x" * 9999])[1]) == MOST
