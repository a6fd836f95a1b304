"""How soon a person who follows the ranking meets the crystals."""

from __future__ import annotations

from collections.abc import Sequence

from training.evaluation.report.columns import numbered
from training.evaluation.report.table import Plot, Section, Share, Table
from training.evaluation.results import FIRST_WELLS, WANTED_SHARE, Evaluation, FileResult

_RANKING_TEXT = (
    "Wells in the order of their largest crystal probability, of equal ones those without a crystal first. An image without a plate or a "
    "well in the labels counts as a well of its own.",
)


def ranking_section(evaluation: Evaluation, plots: tuple[Plot, ...]) -> Section:
    """Over all wells, and plate by plate."""
    files = evaluation.files
    return Section("Ranking", _RANKING_TEXT, plots, (ranking_table(files), *map(_plate_ranking_table, numbered(files))))


def ranking_table(files: Sequence[FileResult]) -> Table:
    """The ranking over all plates."""
    columns = (
        "scores",
        f"plates with a crystal in the first {FIRST_WELLS} wells",
        f"wells with crystals among their plate's first {FIRST_WELLS}",
        f"wells to look at for {WANTED_SHARE:.0%} of the wells with crystals",
        "wells with crystals",
        "images without plate",
    )
    rows = []
    for file in files:
        r = file.ranking
        on_plates = sum(len(plate.crystal_ranks) for plate in r.plates)
        needed = None if r.wells_for_share is None else Share(r.wells_for_share, r.wells)
        early = Share(r.plates_with_early_crystal, len(r.plates)), Share(r.early_crystal_wells, on_plates)
        rows.append((file.name, *early, needed, r.crystal_wells, r.without_plate))
    return Table("Ranking", "Ranking", columns, tuple(rows), "Plates without any crystal are not counted.")


def _plate_ranking_table(file_and_suffix: tuple[str, FileResult]) -> Table:
    suffix, file = file_and_suffix
    columns = ("plate", "wells", "with crystals", "rank of the first crystal", f"wells to look at for {WANTED_SHARE:.0%}")
    rows = tuple((p.plate, p.wells, len(p.crystal_ranks), p.crystal_ranks[0], p.wells_for_share) for p in file.ranking.plates)
    return Table(f"Plate ranking{suffix}", f"Plates with crystals: {file.name}", columns, rows)
