"""The root command: rooms' commands are found, and every way to end has its exit code and at most one line."""

from __future__ import annotations

import sys

import click
import pytest

from crystal_search import cli
from crystal_search.errors import SettingsError, TryAgainLater, UsageError


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["crystal-search", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


def replace_command(monkeypatch: pytest.MonkeyPatch, action: object) -> None:
    @click.command()
    @click.pass_context
    def command(context: click.Context) -> None:
        assert callable(action)
        action(context)

    monkeypatch.setattr(cli._Commands, "get_command", lambda *_: command)


def throw(error: Exception) -> object:
    def action(_: click.Context) -> None:
        raise error

    return action


@pytest.mark.parametrize(("error", "code"), [(UsageError("u"), 2), (SettingsError("s"), 3), (TryAgainLater("t"), 4), (click.Abort(), 4)])
def test_our_errors_end_as_one_line_with_their_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    replace_command(monkeypatch, throw(error))
    assert run(monkeypatch, "anything") == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_exit_code_that_a_command_gives_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_command(monkeypatch, lambda context: context.exit(1))
    assert run(monkeypatch, "anything") == 1


def test_a_command_that_ends_well_ends_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_command(monkeypatch, lambda _: None)
    assert run(monkeypatch, "anything") == 0


def test_an_unknown_command_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "no-such-command") == 2


def test_every_announced_command_loads_and_has_a_help_line() -> None:
    context = click.Context(cli.crystal_search)
    names = cli.crystal_search.list_commands(context)
    chain = {"demo", "score", "train", "work-generator", "assimilate", "finalize", "set-autoscore", "approve", "undo", "status"}
    assert chain <= set(names)
    for name in names:
        command = cli.crystal_search.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(), name
