"""``crystal-search-client IN.zip OUT.zip``: the volunteer's program."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from client_app.errors import one_line
from client_app.executable import forget_old_builds
from client_app.model_folders import MODEL_VARIABLE
from client_app.run import run
from client_app.self_test import self_test
from crystal_search import __version__
from crystal_search.errors import EXIT_DONE, EXIT_SOME_FAILED, EXIT_TRY_LATER, CrystalSearchError, UsageError

PROGRAM = "crystal-search-client"
_MODEL_HELP = f"model folder (default: {MODEL_VARIABLE}; else the one that is asked for, in models/ beside the program or in it)"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {PROGRAM} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Score the images of a work unit.", allow_abbrev=False)
    parser.add_argument("work_unit", metavar="IN.zip", type=Path, nargs="?", help="the work unit")
    parser.add_argument("out", metavar="OUT.zip", type=Path, nargs="?", help="the result; a killed run continues when it is started again")
    parser.add_argument("--model", metavar="DIR", type=Path, help=_MODEL_HELP)
    parser.add_argument("--nthreads", metavar="N", type=_threads, default=1, help="processor threads to use (default: 1)")
    parser.add_argument("--device", metavar="N", type=int, help="accepted because BOINC may pass it; has no effect yet")
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


def client(arguments: Sequence[str]) -> int:
    """Run the client and return its exit code; every error is one line on standard error."""
    details = "-v" in arguments or "--verbose" in arguments
    try:
        options = _parser().parse_args(arguments)
        logging.basicConfig(level=logging.DEBUG if details else logging.WARNING, format="%(message)s", stream=sys.stderr)
        forget_old_builds()
        if options.self_test:
            print(f"self-test passed: {self_test(options.model, options.nthreads)}")
        elif options.out is None:
            raise UsageError(f"the arguments are required: IN.zip OUT.zip (see {PROGRAM} --help)")
        else:
            run(options.work_unit, options.out, options.model, options.nthreads)
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped; start it again and it continues", file=sys.stderr)
        return EXIT_TRY_LATER
    except CrystalSearchError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        if details:
            raise
        print(f"{PROGRAM}: unexpected {one_line(error)} (-v shows where)", file=sys.stderr)
        return EXIT_SOME_FAILED
    return EXIT_DONE


def _stop_once(*_: object) -> NoReturn:
    """A service manager's SIGTERM reaches the executable's inner program twice; the second one must not disturb the way out."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopping)  # not SIG_IGN: Python complains of a signal that came just before
    raise KeyboardInterrupt


def _stopping(*_: object) -> None:
    """It is on its way out already."""


def main() -> NoReturn:
    """The entry point of ``crystal-search-client``."""
    # BOINC and service managers stop a program with this signal; as KeyboardInterrupt it ends the image at hand, too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop_once)
    sys.exit(client(sys.argv[1:]))
