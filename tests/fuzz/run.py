"""Sends damaged traffic through every dialect: `make fuzz`, or `python -m tests.fuzz.run SECONDS`.

The second argument is the seed; the same seed tries the same inputs in the same order. An input
that behaves like none before it joins the corpus; one that breaks something does so too, is told,
and makes the run fail.
"""

import sys
import time
import traceback
from random import Random

from tests.fuzz.checks import CHECKS
from tests.fuzz.corpus import Input, keep, kept, seeds
from tests.fuzz.mutation import mutated

SECONDS = 600.0
SLOWEST = 10.0  # seconds of work for one input; they are of 100 KB at most
SMALL = 6_000  # bytes; what is larger joins the corpus only if it breaks something


def tried(one: Input) -> tuple[str, bool]:
    """How an input behaves, and whether that is a fault."""
    dialect, check, text = one
    start = time.process_time()
    try:
        seen = CHECKS[check](dialect, text)
    except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
        where = traceback.extract_tb(sys.exc_info()[2])[-1]
        kind = sys.exc_info()[0]
        return f"{kind.__name__ if kind else ''} at {where.filename}:{where.lineno}", True
    if time.process_time() - start > SLOWEST:
        return f"took more than {SLOWEST:.0f} s", True
    return seen, False


def main(seconds: float = SECONDS, seed: int = 0) -> int:
    """Try inputs for so long; the number of different faults."""
    random = Random(seed)  # noqa: S311 - nothing is secret here
    start = time.monotonic()
    pool = [*seeds(), *kept()]
    behaviours: set[tuple[str, str, str]] = set()
    faults: set[str] = set()
    count = 0
    fresh = list(pool)  # as they are, first
    while time.monotonic() - start < seconds:
        if count < len(fresh):
            one = fresh[count]
        else:
            dialect, check, text = random.choice(pool)
            others = [other for _, also, other in random.choices(pool, k=8) if also == check]
            one = (dialect, check, mutated(random, text, others or [text]))
        seen, is_fault = tried(one)
        count += 1
        behaviour = (one[0].name, one[1], seen)
        if behaviour in behaviours or (is_fault and seen in faults):
            continue
        behaviours.add(behaviour)
        if is_fault:
            faults.add(seen)
            file = keep(one, is_fault=True)
            print(f"FAULT {one[0].name} {one[1]}: {seen}; kept as {file}", flush=True)  # noqa: T201
        elif count > len(fresh) and len(one[2]) <= SMALL:
            pool.append(one)
            keep(one, is_fault=False)
    told = f"{count} inputs, {len(behaviours)} behaviours, {len(faults)} faults (seed {seed})"
    print(told)  # noqa: T201
    return len(faults)


if __name__ == "__main__":
    told = sys.argv[1:]
    sys.exit(min(1, main(float(told[0]) if told else SECONDS, int(told[1]) if told[1:] else 0)))
