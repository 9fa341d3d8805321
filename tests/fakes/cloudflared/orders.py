"""Orders that need no occasion: to end, and to fill the log.

`exit`: `code` (negative: that signal), `after` seconds (from the start, or with `once_up` from the
first registration), `stdout` and `stderr` to be said before.
`log`: obeyed once for each change: `lines` (text), `raw` (base64), `long` (bytes of one line),
`token` (a line that carries it), `flood` (lines a second, for `seconds`).
"""

from __future__ import annotations

import base64
import os
import threading
import time

from tests.fakes.cloudflared.behaviour import GLANCE
from tests.fakes.cloudflared.journal import die_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from tests.fakes.cloudflared.behaviour import Behaviour
    from tests.fakes.cloudflared.tunnel import Tunnel

BATCH = 0.01  # seconds of a flood that are written together
UPDATED = 11


def at_start(behaviour: Behaviour) -> None:
    """End before anything else happens, where that is the order."""
    order = behaviour.get("exit")
    if order and not order.get("once_up") and not order.get("after"):
        _end(order)


def _end(order: dict[str, Any]) -> NoReturn:
    os.write(1, order.get("stdout", "").encode())
    os.write(2, order.get("stderr", "").encode())
    code: int = order["code"]
    if code < 0:
        die_of(-code)
    os._exit(code)


def watch(tunnel: Tunnel) -> None:
    """Obey what stands in the file, and what is written into it later."""
    if os.path.exists(os.path.join(tunnel.behaviour.folder, "behaviour.json")):
        threading.Thread(target=_watch, args=(tunnel,), daemon=True).start()


def _watch(tunnel: Tunnel) -> None:
    started = time.monotonic()
    up: float | None = None
    said: Any = None
    while True:
        now = time.monotonic()
        if up is None and tunnel.ready:
            up = now
        order = tunnel.behaviour.get("exit")
        if order is not None:
            since = up if order.get("once_up") else started
            if since is not None and now >= since + order.get("after", 0):
                _end(order)
        update = tunnel.behaviour.get("update")
        if update is not None and not tunnel.options.get("no-autoupdate"):
            tunnel.journal.info("cloudflared has been updated", version="2026.9.0")
            os._exit(UPDATED)
        words = tunnel.behaviour.get("log")
        if words is not None and words != said:
            said = words
            threading.Thread(target=_say, args=(tunnel, words), daemon=True).start()
        time.sleep(GLANCE)


def _say(tunnel: Tunnel, words: dict[str, Any]) -> None:
    journal = tunnel.journal
    for text in words.get("lines", ()):
        journal.info(text)
    if "raw" in words:
        journal.raw(base64.b64decode(words["raw"]))
    if "long" in words:
        journal.raw(journal.line("info", "x" * words["long"], {}))
    if words.get("token"):
        journal.error(f"cannot use token {tunnel_token(tunnel)}", secret=tunnel.secret)
    rate = words.get("flood")
    if rate:
        line = journal.line(
            "error", "failed to serve incoming request", {"connIndex": 0, "error": "EOF"}
        )
        end, due = time.monotonic() + words.get("seconds", 1), time.monotonic()
        while due < end:
            journal.raw(line * int(rate * BATCH))
            due += BATCH
            time.sleep(max(0.0, due - time.monotonic()))


def tunnel_token(tunnel: Tunnel) -> str:
    """The token as it was handed over; of credentials the same in that form."""
    import json  # seldom needed

    told = {"a": tunnel.account, "t": tunnel.tunnel_id, "s": tunnel.secret}
    return base64.b64encode(json.dumps(told, separators=(",", ":")).encode()).decode()
