"""``crystal-search drift``: scores and drops of each imager and plate type, week by week."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from crystal_search.drift import OUTCOMES, Period, periods, read_seen, shifts
from crystal_search.ledger import open_existing_ledger
from crystal_search.settings import load_settings


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
def drift(settings_file: Path | None) -> None:
    """Shows how scores and drops change over the weeks, by imager and type of plate, and what has shifted lately.

    A plate's type is the letters that its barcode begins with, the week that in which a picture was taken. `status` shows the alarms alone,
    from the newest scores.
    """
    settings = load_settings(settings_file)
    with open_existing_ledger(settings.ledger_url) as ledger, ledger.read() as connection:
        strata = read_seen(connection, None)
    console = Console()
    console.print(_table(periods(strata)))
    for shift in shifts(strata):
        console.print(shift.line(), style="bold yellow", markup=False)


def _table(rows: list[Period]) -> Table:
    made = Table(title="Shares in percent, medians", box=None, padding=(0, 1, 0, 0))
    for heading in ("week of", "imager", "plates", "model"):
        made.add_column(heading, no_wrap=True)
    for heading in ("images", *OUTCOMES, "crystal probability", "drop, px"):
        made.add_column(heading, justify="right")
    for row in rows:
        of = row.stratum
        shares = [f"{100 * share:.0f}" for share in row.shares]
        made.add_row(
            row.begins.date().isoformat(),
            of.imager,
            of.plate_type,
            of.model,
            str(row.images),
            *shares,
            f"{row.crystal:.3f}",
            f"{row.area:.0f}",
        )
    return made
