"""What looks like a credential, by its name or by its shape: the one list of a configuration.

It only guesses. Configured secrets are known exactly and are the redactor's business.
"""

import re

_NAMES = re.compile(
    r".*(?:authorization|token|secret|passw(?:or)?d|signature)"
    r"|(?:.*[-_])?(?:auth|cookie|sig)"
    r"|key|.*(?:api|access|auth|account|client|private|secret|subscription)[-_]?key",
    re.IGNORECASE,
)
_SURELY = r"[Bb]earer\s+\S|(?:sk|gsk|xai|ghp)[-_]\S{8}|eyJ\S{8}|AIza|AKIA"
_KEYS = re.compile(_SURELY)
_SECRETS = re.compile(
    rf"^(?:{_SURELY}|[Bb]earer\s|(?:sk|pk|rk|gsk|xai|hf|ghp|key|tok)[-_]|eyJ)"
    r"|://[^/@\s]+@|(?i:[?&][^=&\s]*(?:key|token|secret|sig|passw)[^=&\s]*=)"
    r"|(?=[A-Za-z0-9_\-]*\d)(?=[A-Za-z0-9_\-]*[A-Za-z])[A-Za-z0-9_\-]{24,}"
)


def names_one(name: str) -> bool:
    """Whether a header or parameter of this name carries a credential."""
    return _NAMES.fullmatch(name) is not None


def is_key(value: str) -> bool:
    """Whether a value is so surely a key that it is refused where none belongs."""
    return _KEYS.match(value) is not None


def names_variable(name: str) -> bool:
    """Whether this is surely the name of a variable: upper case, and no word of it is a secret."""
    return name.isupper() and not any(may_be_secret(word) for word in name.split("_"))


def may_be_secret(value: str) -> bool:
    """Whether a value should not be shown; rather once too often."""
    return _SECRETS.search(value) is not None
