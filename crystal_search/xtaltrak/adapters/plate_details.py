"""Projects, samples, families and conditions of plates that the embedded XtalTrak has, from a CSV."""

from __future__ import annotations

from pathlib import Path

from crystal_search.plate import Well
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.adapters.csv_list import Cells, rows_of
from crystal_search.xtaltrak.adapters.placing import Skip
from crystal_search.xtaltrak.adapters.source_image import SkippedError

NEEDED = ("barcode",)
OPTIONAL = ("well", "condition", "project", "sample", "family")


def load_details(xtaltrak: XtalTrak, path: Path, skip: Skip) -> int:
    """Bring in what the rows say; empty cells say nothing. Returns how many rows were taken; a bad one goes to ``skip`` alone."""
    taken = 0
    with xtaltrak.transaction():
        for number, cells in rows_of(path, NEEDED):
            try:
                if isinstance(cells, SkippedError):
                    raise cells
                _load_row(xtaltrak, cells)
            except SkippedError as error:
                skip(str(error))
            except ValueError as error:
                skip(f"{path.name} line {number}: {error}")
            else:
                taken += 1
    return taken


def _load_row(xtaltrak: XtalTrak, cells: Cells) -> None:
    """Everything that can be wrong with a row is found before anything of it is written. Raises ``ValueError``."""
    barcode = cells["barcode"]
    project, sample, family, condition = (cells.get(column) for column in ("project", "sample", "family", "condition"))
    if not xtaltrak.query("plate_known", {"barcode": barcode}):
        raise ValueError(f"XtalTrak has no plate {barcode!r}")
    if family and not sample:
        raise ValueError("a family without a sample")
    if bool(condition) != bool(cells.get("well")):
        raise ValueError("a condition needs a well, and a well a condition")
    well = Well.from_label(cells["well"]) if condition else None
    if project:
        others = [name for (name,) in xtaltrak.query("plate_project", {"barcode": barcode}) if name != project]
        if others:
            raise ValueError(f"plate {barcode} has the project {others[0]!r} already")
        xtaltrak.execute("insert_project", {"name": project})
        xtaltrak.execute("set_plate_project", {"barcode": barcode, "name": project})
    if sample:
        xtaltrak.execute("insert_sample", {"name": sample})
        xtaltrak.execute("insert_plate_drop", {"barcode": barcode, "name": sample})
    if family:
        xtaltrak.execute("insert_sample_family", {"name": sample, "family": family})
    if well:
        params = {"barcode": barcode, "col": well.column, "row": well.row, "condition": condition}
        xtaltrak.execute("insert_well_condition", params)
