"""Where models lie: beside the executable, so that a new model needs no new build, inside it (in a checkout: beside the packages), and
in the current folder, where BOINC puts what it has downloaded. A hash decides, so it does not matter who put a model there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from client_app.executable import executable_folders
from crystal_search.archives import ModelReference, sha256_hex

MODEL_TOML = "model.toml"
MODEL_VARIABLE = "CRYSTAL_SEARCH_MODEL"
DEFAULT_MODEL = "synthetic-2"


def named_model_folder() -> Path | None:
    """The folder that ``CRYSTAL_SEARCH_MODEL`` names, or None."""
    return Path(chosen) if (chosen := os.environ.get(MODEL_VARIABLE)) else None


def default_model_folder() -> Path:
    """``CRYSTAL_SEARCH_MODEL``, or the default model: the one beside the executable before the one that came along."""
    if chosen := named_model_folder():
        return chosen
    *beside, inside = (home / DEFAULT_MODEL for home in _homes())
    return next((folder for folder in beside if (folder / MODEL_TOML).is_file()), inside)


def model_folder_for(asked: ModelReference) -> Path:
    """The folder of the model that a work unit asks for, known by the SHA-256 of its ``model.toml``, whatever the folder is called.

    ``CRYSTAL_SEARCH_MODEL`` goes before. Where the model is not here it is the default one, which will be refused by name.
    """
    if chosen := named_model_folder():
        return chosen
    return next((folder for folder in _model_folders() if _sha256(folder) == asked.sha256), default_model_folder())


def _homes() -> tuple[Path, ...]:
    """The folders that hold model folders, the first one first."""
    places = (*executable_folders(), Path(__file__).resolve().parent.parent)
    return tuple(place / "models" for place in places)


def _model_folders() -> Iterator[Path]:
    for home in (*_homes(), Path.cwd() / "models"):
        if home.is_dir():
            yield from sorted(home.iterdir())


def _sha256(folder: Path) -> str | None:
    try:
        return sha256_hex((folder / MODEL_TOML).read_bytes())
    except OSError:
        return None
