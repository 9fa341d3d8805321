"""`python -m sidecar` is the command `llm-sidecar`."""

import gc
import os
import signal
import sys


def main() -> int:
    """Run the command; the exit code."""
    if os.getpid() == 1:
        # in a container the system drops the signal, unless there is a handler; it comes later
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    # `health` is asked every few seconds, and the rest takes half a second to load
    if sys.argv[1:2] == ["health"]:
        from sidecar.cli import health

        return health.main(sys.argv[2:])
    gc.disable()  # what is loaded stays, and a collection would look at it again and again
    from sidecar.cli import main as command

    gc.freeze()
    gc.enable()
    return command.main()


if __name__ == "__main__":
    sys.exit(main())
