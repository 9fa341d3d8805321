"""Names and ids that one side allows and the other does not.

An id of a tool call travels to the client and comes back, so what is changed on its way out is
changed back on its way in. A tool's name stays within one request: it is shortened for a backend,
and the answer's calls get the client's name again.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping

_SAFE_ID = re.compile(r"[a-zA-Z0-9_-]+")
_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")
_MARK = "sc64_"  # an id that is another one in base64


def safe_id(id: str) -> str:
    """The id in letters that every dialect takes; `original_id` gives it back."""
    if _SAFE_ID.fullmatch(id) and not id.startswith(_MARK):
        return id
    coded = base64.urlsafe_b64encode(id.encode("utf-8", "surrogatepass"))
    return _MARK + coded.decode().rstrip("=")


def original_id(id: str) -> str:
    """What `safe_id` made the id of; any other id as it is."""
    if not id.startswith(_MARK):
        return id
    coded = id.removeprefix(_MARK)
    try:
        padded = coded + "=" * (-len(coded) % 4)
        original = base64.urlsafe_b64decode(padded).decode("utf-8", "surrogatepass")
    except ValueError:
        return id
    return original if safe_id(original) == id else id


def fitting_user(user: str, longest: int) -> str:
    """The name of a user in at most `longest` letters, of which a digest takes 64; the same one
    each time."""
    if len(user) <= longest:
        return user
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()


def fitting_names(names: Iterable[str], longest: int) -> Mapping[str, str]:
    """The client's name of a tool → one of at most `longest` letters that backends take.

    Names that fit are not listed; no two become the same.
    """
    told = list(dict.fromkeys(names))
    taken = {name for name in told if _fits(name, longest)}
    made: dict[str, str] = {}
    for name in told:
        if name in taken:
            continue
        short = _shortened(name, longest)
        while short in taken:
            short = _shortened(short + "_", longest)
        taken.add(short)
        made[name] = short
    return made


def _shortened(name: str, longest: int) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_UNSAFE.sub('_', name)[: longest - 11]}_{digest[:10]}"


def _fits(name: str, longest: int) -> bool:
    return len(name) <= longest and _SAFE_ID.fullmatch(name) is not None
