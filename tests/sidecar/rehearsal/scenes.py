"""Casts and scenes for tests of what judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.config.load import Loaded, load_mapping
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.rehearsal.client import Heard, Understood
from sidecar.rehearsal.stage import Cast, Scene, cast
from sidecar.rehearsal.standin import StandIn
from sidecar.rehearsal.voice import Asked, Voice, words

TEXT = "".join(words("a"))


def loaded(*backends: str, route: Mapping[str, Any] | None = None, **more: Any) -> Loaded:
    """Route `chat` with these backends as its targets, of one model; more of the file by keys."""
    data = {
        "backends": {
            name: {"dialect": "openai", "base_url": f"http://{name}.invalid/v1"}
            for name in backends
        },
        "routes": {
            "chat": {
                "targets": [{"backend": name, "model": "m"} for name in backends],
                **(route or {}),
            }
        },
        **more,
    }
    return load_mapping(data, {}, source="test")


def casting(*backends: str, **more: Any) -> Cast:
    found = loaded(*(backends or ("p", "f")), **more)
    made = cast(found, found.snapshot.routes.routes[0])
    assert isinstance(made, Cast)
    return made


def asked(at: float = 0.0, model: str = "m") -> Asked:
    return Asked(at, "POST", "/v1/chat/completions", {"model": model}, 1, 0)


def heard(by: str = "f", took: float = 0.0, status: int = 200, **headers: str) -> Heard:
    told = {"x-sidecar-backend": by, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return Heard(status, told, b"", True, False, took)


def whole(text: str = TEXT) -> Understood:
    return Understood(text, looks_whole=True)


def error(kind: ProblemKind = ProblemKind.OVERLOADED, message: str = "", text: str = "") -> Any:
    return Understood(text, error=Problem(kind, message))


def scene(
    *answers: tuple[Heard, Understood],
    of: Cast | None = None,
    primary: Sequence[Asked] = (),
    stream: bool = True,
) -> Scene:
    """What these requests heard, and what the first backend was asked meanwhile."""
    made = of or casting()
    standins = {}
    for place, name in enumerate((made.primary, *made.others)):
        voice = Voice(made.backends[name].dialect, made.letters[name], 100 + place)
        standins[name] = StandIn(name, voice, (), lambda: 0.0)
    standins[made.primary].asked += primary
    return Scene(
        made,
        stream,
        standins,
        [one for one, _ in answers],
        [one for _, one in answers],
        [4.0 * place for place in range(len(answers))],
    )
