"""What the numbers in record files and the outputs of a foreign network mean."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from client_app.preprocess import BRIGHTNESS_CEILING
from crystal_search.classes import NAMES
from crystal_search.errors import UsageError
from training.datasets.scored_image import CLASS_OF_GROUP
from training.evaluation.judgement import EMPTY_WELL, Words, judgement_of

#: The byte that stands for brightness 1, an image's 92nd percentile, in our chops.
WHITE = 255.0 / BRIGHTNESS_CEILING


def class_names(words: Iterable[str], where: str) -> list[str]:
    """The class of the table that each word means: a class, a score, a group or a MARCO name, or ``rim``.

    Raises ``UsageError`` with one line, which begins with ``where``, for a word that means none and for two that mean the same.
    """
    names: list[str] = []
    for word in (word.strip() for word in words):
        if word in NAMES:
            names.append(word)
            continue
        try:
            said = judgement_of(word, Words.GROUPS)
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from error
        if said.empty:
            raise UsageError(f"{where}: {EMPTY_WELL} is no class of chops")
        names.append(said.class_name or CLASS_OF_GROUP[said.group])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{where}: two names mean {twice[0]}")
    return names


def read_classes(path: Path) -> list[str]:
    """A file with a class a line, in the order of the numbers from 0. Raises ``UsageError``."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can not be read ({error})") from error
    return class_names(lines, str(path))
