"""The command `llm-sidecar`: reads arguments, does one thing, returns an exit code.

0 well done, 1 failed, 2 wrong usage, 78 the configuration cannot be used.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TextIO, TypeAlias
from urllib.parse import quote

from sidecar import __version__
from sidecar.app import CannotStart, serve
from sidecar.cli import health, inject, keys, tables
from sidecar.cli.banner import banner, invitation
from sidecar.cli.client import ANSWER_LIMIT, NotAllowed, NotRunning, answering, ask
from sidecar.cli.rehearse import as_json, as_text, progress_bar
from sidecar.cli.source import TUNNEL, Source, find, load_file, source
from sidecar.config import load, schema
from sidecar.config.faults import ConfigError, Fault
from sidecar.config.load import Loaded
from sidecar.config.printing import as_yaml
from sidecar.config.resolve import socket_folder
from sidecar.config.snapshot import Snapshot
from sidecar.control.operate import Action
from sidecar.policy.routing import nearest
from sidecar.rehearsal.play import rehearse
from sidecar.rehearsal.rows import ROWS
from tunnel.status import as_text as tunnel_status
from tunnel.supervisor import RESTART_LIMIT

EX_CONFIG = 78  # as in sysexits.h

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
FIRST_CLIENT = "first"  # who gets the key that is made for a quick tunnel
MOST_OPEN_FILES = 65_536  # more than the connections that are ever kept

_EPILOG = """\
examples:
  llm-sidecar run                          start with what the environment offers
  llm-sidecar run --config sidecar.yaml    start with a file, and follow its changes
  llm-sidecar run --local-only             let no prompt leave this machine and private networks
  llm-sidecar run --quick-tunnel           and give it a public name, for clients with a key
  llm-sidecar check sidecar.yaml           tell every fault of a file
  llm-sidecar rehearse                     see what its clients get when backends fail
  llm-sidecar print-config > mine.yaml     write down what `run` would use, to go on from there
  llm-sidecar status                       look at the sidecar that is running
  llm-sidecar backend home drain           let nothing new go to a backend, until `enable`
  llm-sidecar keys add laptop              make a key for a client that comes through the tunnel
  llm-sidecar inject --file web.yaml       print a Kubernetes manifest with the sidecar in its pods

without --config, the file is $LLM_SIDECAR_CONFIG, else ./sidecar.yaml, else
/etc/llm-sidecar/config.yaml; with none of them, the environment is searched for keys
(OPENAI_API_KEY, ANTHROPIC_API_KEY, QWEN_API_KEY, MISTRAL_API_KEY, BACKEND_URL,
CUSTOM_BACKEND_1_API_URL, ...) and this machine for an Ollama.

exit codes: 0 well done, 1 failed, 2 wrong usage, 78 the configuration cannot be used
"""

_ACTIONS = """\
actions:
  probe    ask it now, as the health checks do; a success ends an ejection at once
  reset    forget its failures, and the time that it has asked for
  eject    take it out now, as if it had failed
  drain    let nothing new go there, and let run what runs, until `enable`
  enable   undo drain and eject

exit codes: 0 well done (or so already), 1 failed: unknown or disabled, or its probe failed
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] | None = options.command
    if command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        return command(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    except NotRunning as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read has gone; what is still buffered must not complain at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-sidecar",
        description="A pod's localhost for LLMs: one address for the application, and behind it a "
        "fallback chain of backends.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"llm-sidecar {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    _add_run(commands)

    check = commands.add_parser("check", help="tell every fault of a configuration file")
    check.add_argument("file", metavar="FILE")
    check.set_defaults(command=_check)

    _add_rehearse(commands)

    described = commands.add_parser("schema", help="print the JSON Schema of the configuration")
    described.set_defaults(command=_schema)

    printed = commands.add_parser(
        "print-config", help="print the configuration with all defaults, without secrets"
    )
    printed.add_argument("file", metavar="FILE", nargs="?", help="default: what `run` would use")
    _add_config(printed)
    printed.set_defaults(command=_print_config)

    for name, command, text in (
        ("status", _status, "show backends, routes and configuration of a running sidecar"),
        ("reload", _reload, "have a running sidecar read its configuration now"),
    ):
        _add_talk(commands.add_parser(name, help=text), command)

    healthy = commands.add_parser("health", help="ask whether a sidecar lives, by its exit code")
    health.add_arguments(healthy)
    healthy.set_defaults(command=health.ask)

    _add_backend(commands)
    _add_tunnel(commands)
    keys.add_parser(commands)
    inject.add_parser(commands)
    return parser


def _add_run(commands: _Commands) -> None:
    run = commands.add_parser("run", help="start the sidecar")
    _add_config(run)
    run.add_argument(
        "--start",
        choices=("strict", "degraded"),
        default="strict",
        help="with a configuration that cannot be used: strict (the default) stops with code 78, "
        "degraded answers 503 with what is wrong until a good one comes",
    )
    run.add_argument(
        "--local-only",
        action="store_true",
        help="let no prompt leave loopback and private addresses",
    )
    run.add_argument(
        "--echo",
        action="store_true",
        help="without a file, and when nothing is found, answer with the built-in echo even where "
        "no terminal is (`make run` says so)",
    )
    run.add_argument(
        "--quick-tunnel",
        action="store_true",
        help="without a file: expose what is found under a public name of Cloudflare's, to clients "
        "with a key of ./keys.txt; the first key is made and shown once",
    )
    run.set_defaults(command=_run)


def _add_rehearse(commands: _Commands) -> None:
    rehearsed = commands.add_parser(
        "rehearse",
        help="play every fault against a configuration, with stand-ins for its backends",
        description="Play the fault table against a configuration. A stand-in misbehaves in the "
        "place of each route's first backend; no real one is called. The exit code is 1 where a "
        "promise fails.",
    )
    _add_config(rehearsed)
    rehearsed.add_argument(
        "--route", metavar="NAME", action="append", default=[], help="only this route; repeatable"
    )
    rehearsed.add_argument(
        "--row", metavar="N", nargs="+", type=int, choices=ROWS, default=[],
        help="only these rows of the table, 1 to 32",
    )  # fmt: skip
    rehearsed.add_argument("--json", action="store_true", help="print the result as JSON")
    rehearsed.set_defaults(command=_rehearse)


def _add_backend(commands: _Commands) -> None:
    operated = commands.add_parser(
        "backend",
        help="test a backend of a running sidecar, take it out or bring it back",
        description="Changes the state of one backend in a running sidecar, not its configuration.",
        epilog=_ACTIONS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    operated.add_argument("name", metavar="NAME", help="the backend's name")
    operated.add_argument("action", choices=[action.value for action in Action])
    _add_talk(operated, _backend)


def _add_tunnel(commands: _Commands) -> None:
    tunnel = commands.add_parser(
        "tunnel",
        help="look at the tunnel of a running sidecar, or start it anew",
        description="restart starts a second cloudflared, waits until it carries, and then lets "
        "the first one end: nothing is lost. (A quick tunnel gets a new name instead.) status "
        "tells how it is; url prints the public name.",
    )
    tunnel.add_argument("what", choices=("restart", "status", "url"))
    _add_talk(tunnel, _tunnel)


def _add_talk(parser: argparse.ArgumentParser, command: Callable[..., int]) -> None:
    """What all commands have that ask a running sidecar."""
    _add_config(parser)
    parser.add_argument("--socket", metavar="PATH", help="the sidecar's control socket")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.set_defaults(command=command)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="the configuration file")


def _run(options: argparse.Namespace) -> int:
    degraded = options.start == "degraded"
    # the echo is for a person who tries things out, never for a program that nobody watches
    allow_echo = not degraded and (options.echo or _on_terminal(sys.stdin, sys.stdout))
    if options.quick_tunnel and (code := _first_key(options)):
        return code
    chosen = source(
        options.config,
        os.environ,
        local_only=options.local_only,
        allow_echo=allow_echo,
        quick_keys=keys.USUAL_NAME if options.quick_tunnel else None,
    )
    first: Loaded | ConfigError
    try:
        first = chosen.load()
    except ConfigError as error:
        if not degraded:
            raise
        first = error
    doors = load.doors(chosen.path, os.environ)
    _raise_open_files()
    return _run_loop(
        _until_the_end(
            serve(first, chosen.load, doors, lambda snapshot: _announce(snapshot, chosen), _publish)
        )
    )


def _first_key(options: argparse.Namespace) -> int:
    """Make sure of a key for a quick tunnel; an exit code where there can be none."""
    path = find(options.config, os.environ)
    if path is not None:
        print(
            f"--quick-tunnel is for a start without a configuration file, and there is {path}. "
            "Write `tunnel: {quick: true}` into it, and keys under `listeners.public`.",
            file=sys.stderr,
        )
        return 2
    try:
        key = keys.first_key(keys.USUAL_NAME, FIRST_CLIENT)
    except keys.Refused as error:
        print(error, file=sys.stderr)
        return 1
    if key is not None:
        print(
            f"Key of the client {FIRST_CLIENT!r}, which is not shown again (its digest is in "
            f"{keys.USUAL_NAME}; `llm-sidecar keys add NAME` makes more):\n\n  {key}\n",
            flush=True,
        )
    return 0


def _raise_open_files() -> None:
    """Each connection is an open file; the usual soft limit is for programs that have few."""
    try:
        import resource
    except ImportError:  # it does not exist for every system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems have a lower limit than they tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _until_the_end(work: Awaitable[None]) -> NoReturn:
    """Serve, and leave the process without joining its threads.

    A look-up of a name that hangs would hold up the end for as long as it likes.
    """
    code = 0
    try:
        await work
    except CannotStart as error:
        print(error, file=sys.stderr)
        code = 1
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


def _announce(snapshot: Snapshot, chosen: Source) -> None:
    # with a file and no terminal nobody reads it, and a log collector would stumble over it
    if chosen.discovery is not None or _on_terminal(sys.stdout):
        print(banner(snapshot, chosen.name, chosen.discovery), flush=True)


def _publish(url: str) -> None:
    if _on_terminal(sys.stdout):  # the log has it too
        print(invitation(url), flush=True)


def _on_terminal(*streams: TextIO | None) -> bool:
    """Whether one of the streams is a terminal; a closed one is None."""
    return any(stream is not None and stream.isatty() for stream in streams)


def _run_loop(work: Coroutine[Any, Any, int]) -> int:
    # libuv lets only half of its threads look up names at a time; with the usual four, two names
    # that hang would hold up every new connection
    os.environ.setdefault("UV_THREADPOOL_SIZE", "64")
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:  # it does not exist for every system
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def _check(options: argparse.Namespace) -> int:
    try:
        loaded = load_file(options.file, os.environ)
    except ConfigError as error:
        print(error)
        return EX_CONFIG
    for warning in loaded.warnings:
        print(warning.render(loaded.source))
    backends, routes = len(loaded.snapshot.backends), len(loaded.snapshot.routes.routes)
    print(f"OK: {_count(backends, 'backend')}, {_count(routes, 'route')}")
    return 0


def _rehearse(options: argparse.Namespace) -> int:
    path = find(options.config, os.environ)
    if path is None:
        expected = "a file to rehearse; `llm-sidecar print-config > sidecar.yaml` writes one"
        raise ConfigError("rehearse", [Fault((), "no configuration file", expected)])
    loaded = load_file(path, os.environ)
    known = [route.name for route in loaded.snapshot.routes.routes]
    for name in options.route:
        if name not in known:
            close = nearest(name, known)
            names = ", ".join(map(repr, close or known))
            hint = f"Did you mean {names}?" if close else f"There are {names}."
            print(f"There is no route {name!r}. {hint}", file=sys.stderr)
            return 2
    found = rehearse(loaded, options.route, options.row, progress_bar(sys.stderr))
    print(json.dumps(as_json(found, path), indent=2) if options.json else as_text(found))
    return 0 if found.holds else 1


def _schema(_: argparse.Namespace) -> int:
    print(json.dumps(schema.json_schema(TUNNEL), indent=2))
    return 0


def _print_config(options: argparse.Namespace) -> int:
    chosen = source(options.file or options.config, os.environ, local_only=False, allow_echo=True)
    print(as_yaml(chosen.load()), end="")
    return 0


def _status(options: argparse.Namespace) -> int:
    _, answer = _ask(options, "GET", "/status")
    print(json.dumps(answer, indent=2) if options.json else tables.status(answer))
    return 0


def _reload(options: argparse.Namespace) -> int:
    code, answer = _ask(options, "POST", "/reload")
    if options.json:
        print(json.dumps(answer, indent=2))
    else:
        lines = [*answer["warnings"], *answer["restart_needed"]]
        if answer["faults"]:
            lines.insert(0, answer["faults"])
        lines.append(f"{answer['result']}: configuration {answer['revision'] or 'none'}")
        print("\n".join(lines))
    return 0 if code == 200 else EX_CONFIG


def _backend(options: argparse.Namespace) -> int:
    target = f"/backends/{quote(options.name, safe='')}/{options.action}"
    code, answer = _ask(options, "POST", target)
    if options.json:
        print(json.dumps(answer, indent=2))
    elif code != 200:
        print(answer["error"]["message"], file=sys.stderr)
    else:
        print(answer["message"])
    return 0 if code == 200 and answer["ok"] else 1


def _tunnel(options: argparse.Namespace) -> int:
    restart = options.what == "restart"
    if restart:
        code, answer = _ask(options, "POST", "/tunnel/restart", RESTART_LIMIT + ANSWER_LIMIT)
    else:
        code, answer = _ask(options, "GET", "/tunnel")
    if options.json:
        print(json.dumps(answer, indent=2))
        return 0 if code == 200 else 1
    if code != 200:
        print(answer["error"]["message"], file=sys.stderr)
        return 1
    if options.what == "status":
        print(tunnel_status(answer))
    elif restart:
        print(answer["message"])
    elif answer["url"] is None:
        print(
            f"The tunnel is {answer['state']} and its public name is not known yet. "
            "`llm-sidecar tunnel status` tells more.",
            file=sys.stderr,
        )
        return 1
    else:
        print(invitation(answer["url"]) if _on_terminal(sys.stdout) else answer["url"])
    return 0


def _ask(
    options: argparse.Namespace, method: str, target: str, limit: float = ANSWER_LIMIT
) -> tuple[int, Mapping[str, Any]]:
    """Ask the sidecar that runs with a configuration, or else the only one that runs at all.

    The file may have changed since that sidecar started, and with it the path of the socket. What
    changes something is not done to another sidecar than the one that is meant.
    """
    if options.socket:
        return ask(options.socket, method, target, limit)
    path = find(options.config, os.environ)
    if path is not None:
        try:
            load.check_text(path, os.environ)
        except ConfigError as error:
            print(error, file=sys.stderr)
    try:
        return ask(load.doors(path, os.environ).control_socket, method, target, limit)
    except NotAllowed:
        raise
    except NotRunning as missed:
        others = answering(socket_folder(os.environ))
        if others and target.startswith(("/backends/", "/tunnel/")):
            raise NotRunning(f"{missed}\nOthers answer at {', '.join(others)}.") from missed
        if len(others) > 1:
            raise NotRunning(
                f"{missed}\nThese sidecars answer; say which you mean with --socket PATH: "
                + ", ".join(others)
            ) from missed
        if not others:
            raise
    print(f"The configuration's own socket is not there; asking {others[0]}.", file=sys.stderr)
    return ask(others[0], method, target, limit)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
