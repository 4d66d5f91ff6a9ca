"""The command line. Each command lives in a module of its own, which is imported only when it is asked for.

A command's module has `add_arguments(parser)` and `run(args)`, which gives the exit code: 0, or 2 when
something that was given cannot be used, which is told in one line.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import microturn


@dataclass(frozen=True)
class Command:
    name: str
    module: str
    help: str


COMMANDS = (
    Command("run", "microturn.run", "run recordings through the model, as fast as the machine allows"),
    Command(
        "demo", "microturn.demo", "recordings of a few skills through the model, to be watched and heard"
    ),
    Command("say", "microturn.say", "the model reads a text aloud, with its own voice"),
    Command("plan", "microturn.plan", "what a model costs, and how many sessions a device holds"),
    Command("train", "microturn.train.loop", "train a model"),
    Command("serve", "microturn.server.serve", "serve sessions over the network"),
    Command("talk", "microturn.client.talk", "talk to a server, from the terminal"),
    Command("sessions", "microturn.server.export", "stored sessions: list, show, export, delete"),
    Command("replay", "microturn.server.replay", "run a stored session again and compare, to the bit"),
)
BENCHMARKS = (
    Command("background", "microturn.bench.background", "many delegations at once, and what became of each"),
    Command("browser", "microturn.bench.browser", "from mouth to ear, in Chromium"),
    Command("engine", "microturn.bench.engine", "speed and memory of the engine"),
    Command("experts", "microturn.bench.experts", "gathering experts' weights against grouping rows"),
    Command("report", "microturn.bench.report", "scores as docs/benchmarks.md"),
    Command("server", "microturn.bench.server", "what the server and its sockets add to the engine"),
    Command("speech", "microturn.bench.speech", "the model's own voice beside its teacher's"),
)
EXTRAS = {  # which brings a module, where it is not `train`
    "httpx2": "background", "mcp": "background", "xllamacpp": "local", "pipecat": "baseline", "sounddevice": "talk",
    "livekit": "talk", "playwright": "dev", "speechmos": "judge", "resemblyzer": "judge",
}  # fmt: skip
SUITES = "microturn.bench.command"  # `bench NAME` of any other name: what the model can do


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(given).parse_args(given)
        return int(args.run(args) or 0)
    except ModuleNotFoundError as error:
        missing = (error.name or "microturn").partition(".")[0]
        if missing == "microturn":
            raise
        extra = EXTRAS.get(missing, "train")
        print(f"microturn: {missing} is not installed: pip install -e '.[{extra}]'", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # whoever read the output has heard enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        print(f"microturn: {_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("microturn: stopped", file=sys.stderr)
        return 130


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="microturn", description=microturn.__doc__.split("\n\n")[0])
    parser.add_argument("--version", action="version", version=f"microturn {microturn.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add(commands, COMMANDS, given[:1])
    _add_bench(commands, given)
    return parser


def _add_bench(commands: Any, given: Sequence[str]) -> None:
    """`bench engine` and its like have options of their own; every other name is a suite."""
    names = [command.name for command in BENCHMARKS]
    bench = commands.add_parser(
        "bench", help="measure", epilog=f"also: bench {' | '.join(names)}, with --help"
    )
    if given[:1] == ["bench"] and given[1:2] and given[1] in names:
        _add(bench.add_subparsers(metavar="WHAT", required=True), BENCHMARKS, given[1:2])
    elif given[:1] == ["bench"]:
        module = importlib.import_module(SUITES)
        module.add_arguments(bench)
        bench.set_defaults(run=module.run)


def _add(commands: Any, known: Sequence[Command], asked: Sequence[str]) -> None:
    for command in known:
        parser = commands.add_parser(command.name, help=command.help)
        if [command.name] == list(asked):
            module = importlib.import_module(command.module)
            module.add_arguments(parser)
            parser.set_defaults(run=module.run)


def _line(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or 'cannot be used').lower()}"
    return " ".join(str(error).split())
