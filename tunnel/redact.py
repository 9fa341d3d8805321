"""Masks in a child's log what must not be printed: its own secret, and other people's.

The name of a quick tunnel is masked too: the log has it before the name exists, and who looks it
up then is told for half an hour that there is none. The supervisor tells it once it works.
"""

import base64
import binascii
import json
import re
from urllib.parse import quote

MASK = "***"

_LEAST = 8  # characters; a shorter value is in too many words

_LOOKS_SECRET = re.compile(
    r"""
    (?P<kept>
        \b(?:proxy-)?authorization["']?\s*[:=]?\s*\[?["']?(?:(?:bearer|basic)\s+)?
      | \b(?:bearer|basic)\s+(?=[\w.~+/-]{8})
      | \b(?:set-)?cookie["']?\s*[:=]\s*\[?["']?
      | \b(?:x-)?(?:goog-)?api[-_]?key["']?\s*[:=]\s*\[?["']?
      | \bcf-access-(?:jwt-assertion|client-secret|token)["']?\s*[:=]\s*\[?["']?
      | [?&](?:key|api[-_]?key|token|access_token|sig|signature)=
    )
    [^\s"'&\]]{4,}
    """,
    re.IGNORECASE | re.VERBOSE,
)
_QUICK_NAME = re.compile(
    r"(?!api\.)\b(?<![.-])[a-z0-9][a-z0-9-]*(?=\.trycloudflare\.com)", re.IGNORECASE
)
_HINT = re.compile(r"auth|bearer|basic|cookie|key|token|sig|cf-access", re.IGNORECASE)


class Redact:
    """Called with a text, returns it without the secret of a tunnel, in whatever form."""

    __slots__ = ("_exact",)

    def __init__(self, secret: str | None) -> None:
        forms = {form for each in _parts(secret or "") for form in (each, quote(each, safe=""))}
        # the longest first: one may hold another. No pattern: `re` would keep each for long
        worth = (form for form in forms if len(form) >= _LEAST)
        self._exact = tuple(sorted(worth, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        for form in self._exact:
            text = text.replace(form, MASK)
        text = _QUICK_NAME.sub(MASK, text)
        if not _HINT.search(text):
            return text
        return _LOOKS_SECRET.sub(lambda found: found["kept"] + MASK, text)


def _parts(secret: str) -> set[str]:
    """A token or credentials, and the tunnel's secret that stands inside."""
    secret = secret.strip()
    parts = {secret}
    for text in (secret, _decoded(secret)):
        try:
            held = json.loads(text)
        except ValueError:
            continue
        if isinstance(held, dict):
            parts |= {
                each for name in ("s", "TunnelSecret") if isinstance(each := held.get(name), str)
            }
    return parts


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
