"""Chunks that clients would misread, put right; chunks that are right stay the very same object."""

from sidecar.dialects.openai_chat.calls import Calls
from sidecar.wire.json import Json

CHOICE_LIMIT = 1024  # an index from here on is taken for 0


def place_of(choice: Json) -> int:
    """The index of a choice; one that is missing or absurd means the first."""
    index = choice.get("index")
    return index if type(index) is int and 0 <= index < CHOICE_LIMIT else 0


def says_something(delta: Json) -> bool:
    """Whether a delta holds more than a role."""
    return any(value for name, value in delta.items() if name != "role")


class Mender:
    """Puts the chunks of one stream right."""

    __slots__ = ("_calls", "_spoken")

    def __init__(self) -> None:
        self._calls: dict[int, Calls] = {}
        self._spoken: set[int] = set()  # choices that have said something in a delta

    def calls(self, place: int) -> Calls:
        """The tool calls of a choice."""
        return self._calls.setdefault(place, Calls())

    def mended(self, chunk: Json) -> Json:
        """The chunk as clients can read it; never raises."""
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return {**chunk, "choices": []}
        better = [self._choice(one) for one in choices if isinstance(one, dict)]
        if len(better) == len(choices) and all(map(_is_same, better, choices)):
            return chunk
        return {**chunk, "choices": better}

    def _choice(self, choice: Json) -> Json:
        place, delta = place_of(choice), choice.get("delta")
        better: dict[str, object] = {}
        if type(choice.get("index")) is not int:
            better["index"] = place
        reason = choice.get("finish_reason")
        if reason is not None and not isinstance(reason, str):
            better["finish_reason"] = "stop" if reason else None
        if not isinstance(delta, dict):
            if not isinstance(choice.get("text"), str):
                better["delta"] = self._message(choice, place)
        elif delta.get("tool_calls"):
            told = self._tool_calls(delta, place)
            if told is not delta:
                better["delta"] = told
        elif not delta and isinstance(choice.get("message"), dict):
            better["delta"] = self._message(choice, place)
        if isinstance(delta, dict) and says_something(delta):
            self._spoken.add(place)
        if not better:
            return choice
        return {name: choice[name] for name in choice if name != "message"} | better

    def _message(self, choice: Json, place: int) -> Json:
        """The delta that a choice without one gets.

        Some backends say `message` for `delta`; others end with the whole message once more.
        """
        message = choice.get("message")
        if not isinstance(message, dict) or place in self._spoken:
            return {}
        return self._tool_calls(message, place) if message.get("tool_calls") else message

    def _tool_calls(self, delta: Json, place: int) -> Json:
        told = delta["tool_calls"]
        if not isinstance(told, list):
            return {**delta, "tool_calls": None}
        calls = self.calls(place)
        better = [calls.mended(item) for item in told if isinstance(item, dict)]
        if len(better) == len(told) and all(map(_is_same, better, told)):
            return delta
        return {**delta, "tool_calls": better}


def _is_same(one: Json, other: Json) -> bool:
    return one is other
