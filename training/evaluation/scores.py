"""Score files: the ``scores.csv`` of ``crystal-search score``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crystal_search.archives import Status
from crystal_search.classes import BY_NAME, NAMES
from crystal_search.csv_table import Line, read_csv
from crystal_search.errors import UsageError
from training.evaluation.matching import normal_path

_NEEDED = ("image", "status", "class", "probability", "crystal_probability")


@dataclass(frozen=True, slots=True)
class Score:
    """What the program said about one image. ``class_name`` and ``probability`` are None where it gave no class.

    ``crystal_probability`` is 0 where no drop was found or the image failed: such an image comes last in every ranking.
    """

    status: Status
    class_name: str | None
    probability: float | None
    crystal_probability: float


@dataclass(frozen=True, slots=True)
class ScoreFile:
    """A score file under the name it has in the report. ``repeated`` images have several rows, of which the last counts."""

    name: str
    path: str
    models: tuple[str, ...]
    scores: dict[str, Score]
    repeated: tuple[str, ...]


def read_scores(path: Path, name: str) -> ScoreFile:
    """The scores in ``path``. Raises ``UsageError`` with one line for what ``read_csv`` refuses and for a row that makes no sense."""
    scores: dict[str, Score] = {}
    repeated: list[str] = []
    models: dict[str, None] = {}
    for line in read_csv(path, _NEEDED):
        image = normal_path(line.cells["image"])
        if not image:
            raise UsageError(f"{path} line {line.number}: no image named")
        try:
            score = _score(line)
        except ValueError as error:
            raise UsageError(f"{path} line {line.number}: {error}") from error
        if image in scores:
            repeated.append(image)
        scores[image] = score
        models[line.cells.get("model", "") or "not named"] = None
    return ScoreFile(name, str(path), tuple(models), scores, tuple(repeated))


def _score(line: Line) -> Score:
    status, name = line.cells["status"], line.cells["class"]
    if status not in set(Status):
        raise ValueError(f"unknown status {status!r}: known are {', '.join(Status)}")
    if status != Status.SCORED:
        crystal = _probability(line, "crystal_probability") if status == Status.UNSURE else 0.0
        return Score(Status(status), None, None, crystal)
    if name not in BY_NAME:
        raise ValueError(f"unknown class {name!r}: known are {', '.join(NAMES)}")
    return Score(Status.SCORED, name, _probability(line, "probability"), _probability(line, "crystal_probability"))


def _probability(line: Line, column: str) -> float:
    text = line.cells[column]
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{column} {text!r} is not a number from 0 to 1")
    return number


def name_files(arguments: Sequence[str]) -> dict[str, Path]:
    """Score files, given as ``PATH`` or ``NAME=PATH``, by the names they get in the report.

    A file called ``scores.csv`` is named after its folder, another one after itself; folders above are added where names collide.
    Raises ``UsageError`` where that does not help.
    """
    given = [_split(argument) for argument in arguments]
    for depth in range(1, 10):
        names = [name or _name(path, depth) for name, path in given]
        if len(set(names)) == len(names):
            return dict(zip(names, (path for _, path in given), strict=True))
    raise UsageError("two score files have one name: give them different ones with NAME=PATH")


def _split(argument: str) -> tuple[str, Path]:
    name, _, path = argument.rpartition("=") if not Path(argument).exists() else ("", "", argument)
    return name, Path(path)


def _name(path: Path, depth: int) -> str:
    parts = path.resolve().with_suffix("").parts
    return "/".join((parts[:-1] if path.name == "scores.csv" else parts)[-depth:])
