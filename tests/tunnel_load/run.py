"""`make tunnel`: the tunnel under load, then a thousand restarts; prints what came of it, and fails
like a test where a promise is broken.

With `CLOUDFLARED_BIN` and `TUNNEL_EDGE` the real program is played with: `tests/e2e/tunnel/harness`
names the other variables.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.tunnel_load import play, restarts

TOO_SLOW = 0.9  # of the requests that were to be sent; fewer tell nothing of the promise


async def _load(rate: float, streams: int, calm: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        load = play.Load(Path(folder), rate=rate, streams=streams, calm=calm, by_command=True)
        result = await load.run()
    _say(result.told())
    play.check(result)
    if result.pace < TOO_SLOW * rate:
        raise SystemExit(f"this machine is too slow for {rate:.0f} requests a second")


async def _restarts(times: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        every = max(1, times // 10)
        record = await restarts.Restarts(Path(folder), times, every).run()
    _say(record.told())
    restarts.check(record)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main() -> None:
    parser = argparse.ArgumentParser(prog="make tunnel ARGS=…", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--streams", type=int, default=50, help="streams that are always open")
    parser.add_argument("--calm", type=float, default=8.0, help="seconds around each act")
    parser.add_argument("--restarts", type=int, default=1000, help="0 leaves them out")
    told = parser.parse_args()
    if told.rate:
        await _load(told.rate, told.streams, told.calm)
    if told.restarts:
        await _restarts(told.restarts)


if __name__ == "__main__":
    asyncio.run(main())
