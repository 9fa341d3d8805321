"""The tries of a request, for machines: in the extension of an error, and in a header."""

import re
from collections.abc import Callable, Mapping, Sequence

from sidecar.neutral.problem import Problem
from sidecar.policy.outcome import Outcome

HEADER = "x-sidecar-tries"
TOLD = 24  # tries that the header tells, the latest; a name has 63 characters at most

_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")  # RFC 9651


def header(tried: Sequence[Outcome], answering: str | None = None) -> str:
    """The tries as a list of RFC 9651; `answering` is the backend whose answer this is.

    `vllm;outcome=connect;ms=2, openai;outcome=ok`
    """
    told = [
        f"{_item(one.backend)};outcome={one.label};ms={round(one.duration * 1000)}" for one in tried
    ]
    if answering is not None:
        told.append(f"{_item(answering)};outcome=ok")
    return ", ".join(told[-TOLD:])


def _item(name: str) -> str:
    """A backend's name; one that begins with a digit is a string, for a token cannot."""
    return name if _TOKEN.fullmatch(name) else f'"{name}"'


def listed(
    tried: Sequence[Outcome], told: str, redact: Callable[[str], str]
) -> list[Mapping[str, object]]:
    """The tries for an extension field; `told` is the message that the client gets with it.

    A backend's words are repeated only where that message has them too.
    """
    return [_entry(one, told, redact) for one in tried]


def _entry(one: Outcome, told: str, redact: Callable[[str], str]) -> Mapping[str, object]:
    entry: dict[str, object] = {
        "backend": one.backend,
        "model": one.model,
        "outcome": one.label,
        "ms": round(one.duration * 1000),
    }
    if one.problem is not None:
        if one.problem.status is not None:
            entry["status"] = one.problem.status
        entry["reason"] = redact(_reason(one.problem, told))
    return entry


def _reason(problem: Problem, told: str) -> str:
    return problem.message if problem.message.rstrip(".") in told else problem.in_our_words
