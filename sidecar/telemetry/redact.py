"""Masks what must never be printed: configured secrets, and whatever looks like a credential."""

import re
from collections import deque
from collections.abc import Iterable
from urllib.parse import quote

from sidecar.wire import json

MASK = "***"

_GENERATIONS = 8  # configurations whose secrets are remembered
_LEAST = 4  # characters; a shorter value is in too many words
_SURELY_SECRET = 8  # a shorter word of letters only is a placeholder, such as `ollama` or `none`

# what follows `kept` is the credential; names of variables such as HF_API_TOKEN are none
_LOOKS_SECRET = re.compile(
    r"""
    (?P<kept>
        (?: \b(?:bearer|basic)[ ]+
          | \b(?:x-)?(?:goog-)?api[-_]?key(?:["']\s*[:=]\s*["'] | \s*[:=]\s*["']?)
          | \bauthorization(?:["']\s*[:=]\s*["'] | \s*[:=]\s*["']?)(?!bearer\b|basic\b)
        )(?=[^\s"',;\\]{8})
      | [?&](?:key|api[-_]?key|token|access_token|sig|signature)=
      | \b[a-z][a-z0-9+.-]{0,20}://(?=[^\s/@"']{1,500}@)
    )
    (?:(?<=://)[^\s/@"']+ | [^\s"',;&\\}\])]+)
    | (?-i:(?<![\w-])(?:sk|rk|pk|gsk|xai|hf|r8)[-_][A-Za-z0-9_-]{6,} | \bAIza[\w-]{20,})
    """,
    re.IGNORECASE | re.VERBOSE,
)

# every match of the pattern holds one of these; looking for them first costs a hundredth of it
_HINTS = (
    "bearer", "basic ", "key", "authorization", "token=", "sig=", "signature=", "code=", "@",
    "sk-", "sk_", "rk-", "rk_", "pk-", "pk_", "xai-", "xai_", "hf-", "hf_", "r8-", "r8_", "aiza",
)  # fmt: skip


class Redactor:
    """Called with a text, returns it with every credential masked.

    Secrets stay known for a few reloads more: requests in flight may still hold them.
    """

    __slots__ = ("_exact", "_generations")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._generations: deque[frozenset[str]] = deque(maxlen=_GENERATIONS)
        self._exact: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these values too, however they are escaped."""
        known = frozenset(secret for secret in secrets if _is_worth_masking(secret))
        if known in self._generations:
            self._generations.remove(known)
        self._generations.append(known)
        forms = {form for one in self._generations for secret in one for form in _forms(secret)}
        # the longest first: one secret may begin like another
        ordered = sorted(forms, key=len, reverse=True)
        self._exact = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        re.purge()  # else the module keeps hundreds of such patterns, and the secrets in them

    def __call__(self, text: str) -> str:
        if self._exact is not None:
            text = self._exact.sub(MASK, text)
        folded = text.lower()
        if not any(hint in folded for hint in _HINTS):
            return text
        return _LOOKS_SECRET.sub(lambda found: (found["kept"] or "") + MASK, text)


def _is_worth_masking(secret: str) -> bool:
    if len(secret) >= _SURELY_SECRET:
        return True
    return len(secret) >= _LEAST and not secret.isalpha()


def _forms(secret: str) -> set[str]:
    """A secret as it stands, and as it looks in JSON, in an address and in a traceback."""
    return {secret, json.dumps(secret).decode()[1:-1], quote(secret, safe=""), repr(secret)[1:-1]}
