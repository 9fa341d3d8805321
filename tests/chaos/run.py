"""`make chaos`: 200 clients for some minutes; prints what came of it, and fails like a test."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.chaos.play import Chaos, check


async def main() -> None:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=…", description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), clients=told.clients, seconds=told.seconds, seed=told.seed)
        result = await chaos.run()
    sys.stdout.write(f"{result.told()}\n")
    check(result)


if __name__ == "__main__":
    asyncio.run(main())
