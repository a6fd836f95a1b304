"""``crystal-search-client IN.zip OUT.zip``: the volunteer's program."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from client_app import boinc_slot
from client_app.errors import one_line
from client_app.executable import forget_old_builds
from client_app.memory import DEFAULT_MEMORY_MB, LEAST_MEMORY_MB, MB, check_free_memory, limit_memory
from client_app.model_folders import MODEL_VARIABLE
from client_app.priority import lower_priority
from client_app.providers import Provider, ProviderWish
from client_app.run import run
from client_app.self_test import self_test
from client_app.stop import obey_stop_signals
from crystal_search import __version__
from crystal_search.errors import EXIT_DONE, EXIT_SOME_FAILED, EXIT_TRY_LATER, CrystalSearchError, UsageError

PROGRAM = "crystal-search-client"
_STOPPED = f"{PROGRAM}: stopped; start it again and it continues"
_MODEL_HELP = f"model folder (default: {MODEL_VARIABLE}; else the one that is asked for, in models/ beside the program or in it)"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {PROGRAM} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Score the images of a work unit.", allow_abbrev=False)
    parser.add_argument("work_unit", metavar="IN.zip", type=Path, nargs="?", help="the work unit (BOINC needs to name neither archive)")
    parser.add_argument("out", metavar="OUT.zip", type=Path, nargs="?", help="the result; a killed run continues when it is started again")
    parser.add_argument("--model", metavar="DIR", type=Path, help=_MODEL_HELP)
    parser.add_argument("--nthreads", metavar="N", type=_threads, default=1, help="processor threads to use (default: 1)")
    parser.add_argument("--device", metavar="N", type=_device, help="GPU to use, as BOINC counts them (default: no GPU)")
    parser.add_argument(
        "--provider",
        metavar="NAME",
        choices=list(map(str, Provider)),
        default=str(Provider.AUTO),
        help=f"what computes: {', '.join(Provider)} (default: auto, the GPU that --device names, or else the CPU)",
    )
    parser.add_argument(
        "--priority",
        choices=("low", "normal"),
        default="low",
        help="low: other programs come first (default); normal: left as it is",
    )
    parser.add_argument(
        "--memory-mb",
        metavar="N",
        type=_memory,
        default=DEFAULT_MEMORY_MB,
        help=f"most memory to use, {LEAST_MEMORY_MB} or more; an image that needs more fails alone (default: {DEFAULT_MEMORY_MB}, enough)",
    )
    parser.add_argument("--self-test", action="store_true", help="score a built-in image, compare with what is expected, and end")
    parser.add_argument("-v", "--verbose", action="store_true", help="log a line an image, and details of errors")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def _threads(text: str) -> int:
    """BOINC may compute a share of a processor such as 2.5."""
    try:
        threads = int(float(text))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"not a number of threads: {text!r}") from error
    return min(max(threads, 1), 256)


def _device(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 3:
        raise argparse.ArgumentTypeError(f"not the number of a GPU: {text!r}")
    return int(text)


def _memory(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < LEAST_MEMORY_MB:
        raise argparse.ArgumentTypeError(f"not a number of MB from {LEAST_MEMORY_MB} on: {text!r}")
    return int(text)


def _prepare(options: argparse.Namespace) -> None:
    """What concerns the whole process. Raises ``TryAgainLater`` where the computer has no memory left for it."""
    if options.priority == "low":
        lower_priority()
    check_free_memory(LEAST_MEMORY_MB * MB)
    limit_memory(options.memory_mb, options.nthreads)


def _prepare_program(options: argparse.Namespace) -> None:
    # BOINC and service managers stop a program with a signal. BOINC takes any code but 0 for a failure, and goes on later after 0.
    obey_stop_signals(_STOPPED, EXIT_DONE if options.in_slot else EXIT_TRY_LATER)
    _prepare(options)


def client(arguments: Sequence[str], prepare: Callable[[argparse.Namespace], None] | None = None) -> int:
    """Run the client and return its exit code; every error is one line on standard error. ``prepare`` is called before the work."""
    details = "-v" in arguments or "--verbose" in arguments
    in_slot = False
    try:
        options = _parser().parse_args(arguments)
        options.in_slot = in_slot = options.work_unit is None and not options.self_test and boinc_slot.is_here()
        if in_slot:
            options.work_unit, options.out = boinc_slot.ARCHIVES
        logging.basicConfig(level=logging.DEBUG if details else logging.WARNING, format="%(message)s", stream=sys.stderr)
        logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what is wrong with an image stands in its result
        if prepare:
            prepare(options)
        forget_old_builds()
        provider = ProviderWish(Provider(options.provider), options.device)
        if options.self_test:
            print(f"self-test passed: {self_test(options.model, options.nthreads, provider)}")
        elif options.out is None:
            raise UsageError(f"the arguments are required: IN.zip OUT.zip (see {PROGRAM} --help)")
        else:
            run(options.work_unit, options.out, options.model, options.nthreads, provider, memory_mb=options.memory_mb)
    except KeyboardInterrupt:
        print(_STOPPED, file=sys.stderr)
        code = EXIT_TRY_LATER
    except MemoryError:
        print(f"{PROGRAM}: not enough memory: start again with a larger --memory-mb; nothing was lost", file=sys.stderr)
        code = EXIT_TRY_LATER
    except CrystalSearchError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        code = error.exit_code
    except Exception as error:
        if details:
            raise
        print(f"{PROGRAM}: unexpected {one_line(error)} (-v shows where)", file=sys.stderr)
        code = EXIT_SOME_FAILED
    else:
        code = EXIT_DONE
    return boinc_slot.tell_boinc(code) if in_slot else code


def main() -> NoReturn:
    """The entry point of ``crystal-search-client``."""
    warnings.simplefilter("ignore")
    sys.exit(client(sys.argv[1:], _prepare_program))
