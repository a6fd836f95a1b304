"""The table of classes against the paper's (P2, P5, P17, P18), written down here a second time."""

from __future__ import annotations

import pytest

from crystal_search.classes import BY_CODE, BY_NAME, CLASSES, CRYSTAL_CLASSES, NAMES, PRIORITY, Group, class_of_score


def test_codes_stand_in_the_papers_order_of_priority() -> None:
    assert [c.code for c in CLASSES] == [23, 22, 21, 13, 12, 11, 34, 33, 32, 31, 1, 2, 1]


def test_groups_are_crystal_precipitate_other_clear() -> None:
    groups = {group: [c.code for c in CLASSES if c.group == group] for group in Group}
    assert groups == {"crystal": [23, 22, 21], "precipitate": [13, 12, 11], "other": [34, 33, 32, 31], "clear": [1, 2, 1]}


def test_names_are_unique_and_priority_is_their_place() -> None:
    assert len(set(NAMES)) == 13
    assert [name for name, _ in sorted(PRIORITY.items(), key=lambda item: item[1])] == list(NAMES)
    assert CRYSTAL_CLASSES == ("crystals_harvestable", "crystals_bad_form", "crystals_overnucleated")


def test_a_score_has_two_characters_as_xtaltrak_stores_it() -> None:
    assert [c.score for c in CLASSES] == ["23", "22", "21", "13", "12", "11", "34", "33", "32", "31", "01", "02", "01"]


def test_colours_of_the_paper() -> None:
    def red_green_blue(name: str) -> tuple[bool, ...]:
        colour = BY_NAME[name].colour
        return tuple(channel == max(colour) for channel in colour)

    assert red_green_blue("crystals_harvestable") == (True, False, False)
    assert red_green_blue("precipitate_good") == (False, False, True)
    assert BY_NAME["rim"].colour == (255, 255, 255)
    assert len(set(BY_NAME["clear"].colour)) == 1
    hues = {BY_NAME[name].colour for name in ("crystals_bad_form", "precipitate", "null_experiment", "other", "clear", "rim")}
    assert len(hues) == 6


@pytest.mark.parametrize("score", ["01", "1", 1, " 1 "])
def test_score_one_means_clear_never_rim(score: str | int) -> None:
    assert class_of_score(score).name == "clear"


def test_every_score_leads_back_to_its_class() -> None:
    assert all(class_of_score(c.score) is c for c in CLASSES if c.name != "rim")
    assert "rim" not in {c.name for c in BY_CODE.values()}


@pytest.mark.parametrize("score", ["", "0", "99", "-1", "2.0", "x", "²", "None"])
def test_an_unknown_score_is_one_clear_line(score: str) -> None:
    with pytest.raises(ValueError, match=r"^unknown score .* known are 23, 22, .*$") as error:
        class_of_score(score)
    assert "\n" not in str(error.value)
