"""A site's own numbers for scores: written, and read from people."""

from __future__ import annotations

from pathlib import Path

import pytest

from crystal_search.errors import SettingsError
from crystal_search.score_codes import ScoreCodes
from crystal_search.settings import load_settings

PAPER = ScoreCodes({})
#: A site with ten marks and one for every precipitate.
SITE = ScoreCodes(
    {"crystals_harvestable": "9", "clear": "0", "precipitate": "2", "precipitate_bad": "2", "precipitate_good": "2", "other": "X"}
)


def test_without_a_mapping_scores_are_the_papers() -> None:
    assert PAPER.all == ["23", "22", "21", "13", "12", "11", "34", "33", "32", "31", "01", "02"]
    assert PAPER.of("rim") == "01"
    assert PAPER.class_of("1").name == PAPER.class_of(" 01 ").name == "clear"


def test_a_sites_scores_are_written_and_understood() -> None:
    assert [SITE.of(name) for name in ("crystals_harvestable", "crystals_bad_form", "clear", "rim")] == ["9", "22", "0", "0"]
    assert SITE.all == ["9", "22", "21", "2", "34", "X", "32", "31", "0", "02"]
    assert SITE.class_of("09").name == "crystals_harvestable"
    assert SITE.class_of("X").name == "other"


@pytest.mark.parametrize("score", ["23", "01", "x", "", None, "33", "²"])
def test_the_papers_score_of_a_class_that_a_site_numbers_otherwise_is_unknown(score: str | None) -> None:
    with pytest.raises(ValueError, match="unknown score"):
        SITE.class_of(score)
    assert not SITE.is_known(score or "")


def test_a_score_for_several_classes_is_none_of_them() -> None:
    assert SITE.is_known("2")
    assert SITE.mixed == ["2"], "precipitate, and clear with other features, which the mapping left out"
    assert PAPER.mixed == []
    with pytest.raises(ValueError, match="'2' means precipitate or precipitate_bad or precipitate_good or clear_with_other_features"):
        SITE.class_of("2")


MISTAKES = [("claer = '0'", "is no class; classes are crystals_harvestable"), ("rim = '0'", "no class"), ("clear = '0,1'", "clear")]


@pytest.mark.parametrize(("line", "match"), MISTAKES)
def test_a_mapping_with_a_mistake(tmp_path: Path, line: str, match: str) -> None:
    file = tmp_path / "crystal-search.toml"
    file.write_text(f"[xtaltrak.codes]\n{line}\n")
    with pytest.raises(SettingsError, match=match) as caught:
        load_settings(file)
    assert len(str(caught.value).splitlines()) == 1
