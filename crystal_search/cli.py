"""The root of the command line. Rooms announce their commands as entry points, so that the root imports none of them."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import EntryPoint, entry_points

import click

from crystal_search import __version__
from crystal_search.errors import EXIT_DONE, EXIT_SOME_FAILED, EXIT_TRY_LATER, CrystalSearchError
from crystal_search.logs import Format, log_is_json, start_log

_GROUP = "crystal_search.commands"


class _Commands(click.Group):
    """Loads a room only when its command is called or described."""

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=_GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = self._points().get(cmd_name)
        if point is None:
            return None
        command = point.load()
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="crystal-search")
@click.option("-v", "--verbose", is_flag=True, help="Also log details.")
@click.option("--log", type=click.Choice(["plain", "json"]), help="How log lines look [default: services.log of the settings, else plain].")
def crystal_search(verbose: bool, log: Format | None) -> None:
    """Score protein-crystallization images with idle computers."""
    start_log(verbose, log)


def _say(line: str) -> None:
    if log_is_json():
        logging.getLogger("crystal-search").error("%s", line)
    else:
        print(f"crystal-search: {line}", file=sys.stderr)


def main() -> None:
    """Run a command; an error of ours ends as one line and its exit code, never as a traceback."""
    try:
        code = crystal_search.main(standalone_mode=False)  # what a command gave to ctx.exit comes back as a number
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        _say("stopped")
        sys.exit(EXIT_TRY_LATER)
    except CrystalSearchError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        if not log_is_json():
            raise
        logging.getLogger("crystal-search").critical("unexpected %s", type(error).__name__, exc_info=True)
        sys.exit(EXIT_SOME_FAILED)
    sys.exit(code if isinstance(code, int) else EXIT_DONE)
