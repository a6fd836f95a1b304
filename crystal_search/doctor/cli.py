"""The command ``doctor``: a table with a remedy for each finding, or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crystal_search.doctor.examine import examine
from crystal_search.doctor.findings import Finding, Severity, exit_code
from crystal_search.settings import load_settings

_STYLE = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.ERROR: "red", Severity.AWAY: "magenta"}


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def doctor(settings_file: Path | None, as_json: bool) -> None:
    """Look whether XtalTrak, its score table and the images are as we think; nothing is changed.

    Exit code: 0 all is well, 1 worth a look, 3 something has to be changed, 4 the database or the images are away.
    """
    findings = examine(load_settings(settings_file))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        console = Console()
        console.print(_table(findings))
        if any(finding.forbids_writing for finding in findings):
            console.print(Text("No score is written before the findings marked with * are remedied.", style="bold"))
    raise click.exceptions.Exit(exit_code(findings))


def _table(findings: list[Finding]) -> Table:
    table = Table(title="doctor", title_justify="left", show_lines=True)
    for column in ("check", "", "found", "remedy"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark = f"{finding.severity}{'*' if finding.forbids_writing else ''}"
        table.add_row(Text(finding.check), Text(mark, style=_STYLE[finding.severity]), Text(finding.what), Text(finding.remedy))
    return table
