"""Which threshold (P16) fits a model: whole synthetic wells, drawn from seeds that no training uses, through the client's own code.

``python -m training.threshold MODEL_FOLDER`` prints the table; ``--write`` puts the choice into ``model.toml``. The paper's 0.85 was
found for its own network, and a threshold belongs to the network. The choice is the one with the best mean of the four groups' success
rates among those that call at most 5 % of clear drops and empty wells crystals; it rests on synthetic wells only.
"""

from __future__ import annotations

import multiprocessing
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from client_app.classify import classify
from client_app.drop import find_drop
from client_app.model import Model, load_model
from crystal_search.atomic import write_atomically
from crystal_search.classes import BY_NAME, CLASSES, Group
from training.export import SETTINGS_FILE, to_toml
from training.synthetic import draw_well

#: Far from the seeds of training (1 ...) and of held-out examples (10 000 000 ...).
FIRST_SEED = 90_000_000
MOST_FALSE_CRYSTALS = 0.05
_COMMAND = "python -m training.threshold MODEL_FOLDER --write"
CANDIDATES = tuple(round(0.30 + 0.05 * step, 2) for step in range(14))


@dataclass(frozen=True, slots=True)
class Well:
    """A drawn well: its ``group`` in truth (a well without a drop counts as clear).

    ``best`` (13,) is each class's largest probability over all windows, None where no drop was found.
    """

    group: Group
    best: npt.NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Row:
    """What a threshold gives: success rate of each group (P19; unsure is a miss), share of clear and empty wells called crystals."""

    threshold: float
    success: dict[Group, float]
    false_crystals: float

    @property
    def mean(self) -> float:
        """Plain mean of the four success rates."""
        return float(np.mean(list(self.success.values())))


def group_of(well: Well, threshold: float) -> Group | None:
    """The group that the ARTscore rule (P17) gives at a threshold; no drop counts as clear, None is unsure."""
    if well.best is None:
        return Group.CLEAR
    reached = np.flatnonzero(well.best > threshold)
    return CLASSES[int(reached[0])].group if reached.size else None


def table(wells: Sequence[Well], thresholds: Sequence[float] = CANDIDATES) -> list[Row]:
    """One row a threshold. Raises ``ValueError`` when a group has no well."""
    rows = []
    for threshold in thresholds:
        given = [(well.group, group_of(well, threshold)) for well in wells]
        members = {group: [answer for truth, answer in given if truth is group] for group in Group}
        if empty := [group for group, answers in members.items() if not answers]:
            raise ValueError(f"no well of group {empty[0]}: draw more wells")
        success = {group: sum(answer is group for answer in answers) / len(answers) for group, answers in members.items()}
        clear = members[Group.CLEAR]
        rows.append(Row(threshold, success, sum(answer is Group.CRYSTAL for answer in clear) / len(clear)))
    return rows


def choose(rows: Sequence[Row]) -> Row:
    """The row with the best mean of success rates among those with few false crystals, else the one with the fewest."""
    few = [row for row in rows if row.false_crystals <= MOST_FALSE_CRYSTALS]
    return max(few, key=lambda row: row.mean) if few else min(rows, key=lambda row: row.false_crystals)


@cache
def _model(folder: Path) -> Model:
    return load_model(folder, threads=1)


def _look(folder: Path, seed: int) -> Well:
    drawn = draw_well(seed)
    group = Group.CLEAR if drawn.class_name is None else BY_NAME[drawn.class_name].group
    model, image = _model(folder), Image.fromarray(drawn.image)
    drop = find_drop(model, image)
    if drop is None:
        return Well(group, None)
    return Well(group, classify(model, image, drop.box, drawn.um_per_px, model.step(None)).probabilities.max(axis=0))


@click.command()
@click.argument("model_folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--wells", type=click.IntRange(40), default=300, show_default=True, help="Synthetic wells to draw.")
@click.option("--write", is_flag=True, help="Put the choice into model.toml.")
def main(model_folder: Path, wells: int, write: bool) -> None:
    """Success rates of a model on synthetic wells at several thresholds."""
    seeds = range(FIRST_SEED, FIRST_SEED + wells)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count() or 1) as pool:
        looked = list(tqdm(pool.imap(partial(_look, model_folder), seeds, chunksize=4), total=wells, unit="well", disable=None))
    rows = table(looked)
    chosen = choose(rows)
    click.echo(f"{wells} synthetic wells; success rates\nthreshold  crystal  precipitate  other  clear   mean  false crystals")
    for row in rows:
        rates = "  ".join(f"{row.success[group]:.2f}".rjust(len(group.value)) for group in Group)
        click.echo(f"{row.threshold:9.2f}  {rates}   {row.mean:.2f}  {row.false_crystals:.3f}{'  <-' if row is chosen else ''}")
    if write:
        path = model_folder / SETTINGS_FILE
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
        settings["threshold"] = chosen.threshold
        settings.setdefault("training", {})["threshold"] = {
            "chosen_on": f"{wells} synthetic wells from seed {FIRST_SEED}",
            "command": _COMMAND,
        }
        write_atomically(path, to_toml(settings).encode())
        click.echo(f"wrote threshold {chosen.threshold} to {path}")


if __name__ == "__main__":
    main()
