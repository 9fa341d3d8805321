"""How a rehearsal is told: bar, tables, sentences, JSON."""

from __future__ import annotations

import io
import json

from sidecar.cli.rehearse import WIDTH, as_json, as_text, progress_bar
from sidecar.rehearsal.advice import Advice
from sidecar.rehearsal.judging import Finding, Mark
from sidecar.rehearsal.play import Played, Rehearsal, RouteResult
from tests.sidecar.rehearsal.scenes import casting

MEND = Advice("routes.chat.targets", "it has one target; add a second one on another backend")
FAILED = Finding(Mark.FAILS, "the client got a 503 after 0.8 s", (MEND,))
BETTER = Finding(Mark.BETTER, "not rescued", (Advice("routes.chat.delivery", "assured"),))
HELD = Finding(Mark.HOLDS, "answered by f")
LEFT_OUT = Finding(Mark.NOT_REHEARSED, "it cannot be played")


def rehearsal(*names: str) -> Rehearsal:
    played = (
        Played(4, "for-ever", True, FAILED, 0.8),
        Played(4, "for-ever", False, FAILED, 0.8),
        Played(8, "reset", True, BETTER, 0.12345),
        Played(10, "junk", True, HELD, 0.0),
        Played(28, "", True, LEFT_OUT),
    )
    routes = [RouteResult(name, casting("p", "f"), played) for name in names]
    relay = RouteResult("rest", None, (), "it takes no chats")
    return Rehearsal((4, 8, 10, 28), (*routes, relay))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_for_terminals() -> None:
    seen, file = Terminal(), io.StringIO()
    for stream in (seen, file):
        draw = progress_bar(stream)
        draw(1, 4, "row 4 on chat")
        draw(4, 4, "done")
    assert "1/4 row 4 on chat" in seen.getvalue()
    assert seen.getvalue().endswith("\r\033[K")  # nothing of it is left
    assert file.getvalue() == ""


def test_text() -> None:
    text = as_text(rehearsal("chat"))
    lines = [line.split() for line in text.splitlines()]
    assert ["4", "503", "for", "ever", "FAILS"] in lines
    assert ["10", "an", "event", "is", "not", "JSON", "holds"] in lines
    assert text.count("the client got a 503 after 0.8 s") == 1  # said once for both ways
    assert f"    {MEND.setting}: {MEND.do}" in text
    assert "could be better" in text
    assert "  row 28: it cannot be played" in text
    assert "  route rest: it takes no chats" in text
    assert text.endswith("Promises: 1 hold, 1 could be better, 1 fail, 1 not rehearsed")


def test_many_routes_keep_within_the_width() -> None:
    text = as_text(rehearsal(*(f"route-number-{place}" for place in range(12))))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.count("ROW ") == 3


def test_json() -> None:
    found = as_json(rehearsal("chat"), "sidecar.yaml")
    again = json.loads(json.dumps(found))
    assert again["configuration"] == "sidecar.yaml"
    assert again["holds"] is False
    assert again["routes"][0]["rows"][0] == {
        "row": 4,
        "backend": "503 for ever",
        "promise": "the answer of the next",
        "mark": "fails",
        "plays": [
            {
                "name": "for-ever",
                "stream": stream,
                "mark": "fails",
                "told": "the client got a 503 after 0.8 s",
                "seconds": 0.8,
                "advice": [{"setting": MEND.setting, "do": MEND.do}],
            }
            for stream in (True, False)
        ],
    }
    assert again["routes"][1]["not_rehearsed"] == "it takes no chats"
    assert set(again["routes"][1]) == set(again["routes"][0])
