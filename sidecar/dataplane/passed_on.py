"""A backend's own error body on its way to the client: as it was written, but for two things.

What is a key is masked, and what machines are told is put beside its fields.
"""

from collections.abc import Callable, Mapping

from sidecar.wire import json, splice
from sidecar.wire.json import Json
from sidecar.wire.splice import Edit

FIELD = "sidecar"
BEHIND = "behind"  # what another sidecar, further on, has told in the same field


def passed_on(
    raw: bytes, within: str | None, extension: Json, redact: Callable[[str], str]
) -> bytes:
    """The body for the client; `within` is the member that holds the error, if any.

    A body whose error is no object cannot take more and goes out without.
    """
    text = _masked(raw, redact)
    parsed = json.loads_object(text)
    if parsed is None:
        return text
    at, holder = 0, parsed
    if within is not None:
        found = parsed.get(within)
        if not isinstance(found, dict):
            return text
        holder = found
        # of members with the same name the last one is what a reader sees
        at = [one.start for one in splice.members(text) if one.key == within][-1]
    if isinstance(theirs := holder.get(FIELD), dict):
        extension = {**extension, BEHIND: theirs}
    return splice.apply(text, _edits(text, at, json.dumps(extension)))


def _edits(text: bytes, at: int, value: bytes) -> list[Edit]:
    members = splice.members(text, at)
    if ours := [Edit(one.start, one.end, value) for one in members if one.key == FIELD]:
        return ours
    member = json.dumps(FIELD) + b":" + value
    if not members:
        return [splice.insertion(text, member, at)]
    # behind the words that people look for
    end = members[-1].end
    return [Edit(end, end, b"," + member)]


def _masked(raw: bytes, redact: Callable[[str], str]) -> bytes:
    """The body without keys, its other bytes untouched unless a key is escaped in them."""
    text = redact(raw.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    seen = json.loads_object(text)
    if seen is None:
        seen = json.loads_object(raw) or {}
        return json.dumps(redacted(seen, redact))
    clean = redacted(seen, redact)
    return text if clean == seen else json.dumps(clean)


def redacted(value: object, redact: Callable[[str], str]) -> object:
    """JSON with every text in it masked, names of members too."""
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {redact(name): redacted(one, redact) for name, one in value.items()}
        case list():
            return [redacted(one, redact) for one in value]
        case _:
            return value
