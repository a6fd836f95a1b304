"""Reading scores and labels for an evaluation: nothing is guessed, nothing is dropped in silence, a mistake is one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_app.score import COLUMNS
from crystal_search.classes import CLASSES, Group
from crystal_search.errors import UsageError
from training.evaluation.judgement import Judgement, Words, consensus, judgement_of, words_of
from training.evaluation.labels import read_labels
from training.evaluation.matching import match
from training.evaluation.scores import name_files, read_scores

HEADER = ",".join(COLUMNS)
CRYSTALTRAK = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI022987_003_121121_01_06_03_HF_99_030_001_RDI.jpg"


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


# ---- words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "group", "class_name"),
    [
        ("23", Group.CRYSTAL, "crystals_harvestable"),
        ("1", Group.CLEAR, "clear"),
        ("01", Group.CLEAR, "clear"),
        ("34.0", Group.OTHER, "null_experiment"),
        ("Crystals", Group.CRYSTAL, None),
        ("crystal", Group.CRYSTAL, None),
        ("Precipitate", Group.PRECIPITATE, None),
        ("precipitate_bad", Group.PRECIPITATE, "precipitate_bad"),
        ("Other", Group.OTHER, None),
        ("empty_well", Group.CLEAR, None),
    ],
)
def test_every_word_that_a_lab_uses_is_understood(label: str, group: Group, class_name: str | None) -> None:
    assert judgement_of(label, Words.GROUPS) == Judgement(group, class_name, empty=label == "empty_well")


def test_every_class_is_understood_by_name_and_by_score() -> None:
    for c in CLASSES[:-1]:
        assert judgement_of(c.name, Words.CLASSES) == judgement_of(c.score, Words.CLASSES) == Judgement(c.group, c.name)


@pytest.mark.parametrize("label", ["rim", "24", "", "kristall", "3", "²"])
def test_an_unknown_word_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="unknown label"):
        judgement_of(label, Words.GROUPS)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["clear", "precipitate", "other", "empty_well"], Words.GROUPS),  # nothing says that classes are meant: the lesser claim
        (["clear", "Crystals"], Words.GROUPS),
        (["clear", "crystal", "spherulites"], Words.GROUPS),
        (["clear", "spherulites"], Words.CLASSES),
        (["clear", "23"], Words.CLASSES),
    ],
)
def test_words_that_name_a_group_and_a_class_are_read_as_the_rest_of_the_file(labels: list[str], words: Words) -> None:
    assert words_of(labels) is words


@pytest.mark.parametrize(
    ("said", "together", "tied"),
    [
        (["23", "1", "1"], "clear", False),
        (["1", "23"], "crystals_harvestable", True),
        (["21", "22", "22", "11", "11"], "crystals_bad_form", False),
        (["21", "22"], "crystals_bad_form", False),
        (["empty_well", "empty_well", "1"], "empty_well", False),
        (["empty_well", "1"], "clear", False),  # half is not more than half: no_drop stays a miss
        (["crystal", "21"], "crystals_overnucleated", False),
    ],
)
def test_what_several_people_say_together(said: list[str], together: str, tied: bool) -> None:
    for order in (said, said[::-1]):
        result = consensus([judgement_of(label, Words.CLASSES) for label in order])
        assert (result.judgement.word, result.tied) == (together, tied)


# ---- labels -----------------------------------------------------------------------------------------------------


def test_labels_with_people_plates_and_sources(tmp_path: Path) -> None:
    rows = ["a.jpg,23,P1,A01,ann,lab", "a.jpg,1,P1,A01,bob,lab", "a.jpg,22,P1,A01,ann,lab", "b.jpg,,P1,A02,ann,lab"]
    text = "\n".join(["image,label,plate,well,scorer,source", *rows])
    labels = read_labels(written(tmp_path / "labels.csv", text))
    image = labels.images["a.jpg"]
    assert [judgement.word for judgement in image.judgements] == ["crystals_bad_form", "clear"]  # ann's second word counts
    assert (image.plate, image.well, image.source, image.consensus.tied) == ("P1", "A01", "lab", True)
    assert (labels.unlabelled, labels.scored_again, labels.words) == (("b.jpg",), ("a.jpg",), Words.CLASSES)


def test_rows_without_a_name_are_different_people(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path / "labels.csv", "image,label\na.jpg,crystal\n./a.jpg,crystal\n"))
    assert len(labels.images["a.jpg"].judgements) == 2
    assert labels.scored_again == ()


def test_a_crystaltrak_name_tells_plate_and_well_where_the_file_does_not(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path / "labels.csv", f"image,label\nx/{CRYSTALTRAK},crystal\nother.jpg,clear\n"))
    assert (labels.images[f"x/{CRYSTALTRAK}"].plate, labels.images[f"x/{CRYSTALTRAK}"].well) == ("CI022987", "F01")
    assert (labels.images["other.jpg"].plate, labels.images["other.jpg"].well) == ("", "")


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8-sig"), (";", "utf-8"), ("\t", "latin-1")])
def test_the_csv_of_any_spreadsheet_and_columns_of_any_name(tmp_path: Path, delimiter: str, encoding: str) -> None:
    text = delimiter.join(["file", "verdict"]) + "\r\n" + delimiter.join(["tröpfchen\\a.jpg", "Clear"]) + "\r\n"
    labels = read_labels(written(tmp_path / "labels.csv", text, encoding), {"image": "file", "label": "verdict"})
    (name,) = labels.images
    assert name.endswith("pfchen/a.jpg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("image,label\n", "a header and no rows"),
        ("picture,label\na.jpg,23\n", "no column 'image'; the columns are picture, label"),
        ("image,label,label\na.jpg,23,23\n", "more than one column 'label'"),
        ("image,label\na.jpg,crystl\n", "line 2: unknown label 'crystl': known are"),
        ("image,label\na.jpg,23\nb.jpg\n", "line 3: 1 cells, the header has 2"),
        ("image,label\n,23\n", "line 2: no image named"),
        ("image,label\na.jpg,\n", "no row has a label in column 'label'"),
        ("image,label,plate\na.jpg,23,P1\na.jpg,23,P2\n", "line 3: a.jpg has more than one plate: P1, P2"),
        (f'image,label\n"{"a" * 200_000}",23\n', "this is no CSV"),
    ],
)
def test_bad_labels_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_labels(written(tmp_path / "labels.csv", text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "labels.csv") in str(caught.value)


def test_a_named_column_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column 'Platte'"):
        read_labels(written(tmp_path / "labels.csv", "image,label\na.jpg,23\n"), {"plate": "Platte"})


# ---- scores -----------------------------------------------------------------------------------------------------


def test_scores_of_every_status(tmp_path: Path) -> None:
    rows = [
        "a.jpg,scored,crystals_bad_form,22,crystal,0.91,0.95,1,2,3,4,m 0",
        "b.jpg,unsure,,,,,0.4,1,2,3,4,m 0",
        "c.jpg,no_drop,,,,,,,,,,m 0",
        "d.jpg,failed,,,,,,,,,,m 0",
        "a.jpg,scored,clear,01,clear,0.9,0.1,1,2,3,4,m 0",
    ]
    scores = read_scores(written(tmp_path / "scores.csv", "\n".join([HEADER, *rows])), "m")
    found = {name: (str(s.status), s.class_name, s.probability, s.crystal_probability) for name, s in scores.scores.items()}
    assert found == {
        "a.jpg": ("scored", "clear", 0.9, 0.1),
        "b.jpg": ("unsure", None, None, 0.4),
        "c.jpg": ("no_drop", None, None, 0.0),
        "d.jpg": ("failed", None, None, 0.0),
    }
    assert (scores.repeated, scores.models) == (("a.jpg",), ("m 0",))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,good,clear,01,clear,0.9,0.1,,,,,m", "line 2: unknown status 'good'"),
        ("a.jpg,scored,klar,01,clear,0.9,0.1,,,,,m", "line 2: unknown class 'klar'"),
        ("a.jpg,scored,clear,01,clear,0.9,1.1,,,,,m", "line 2: crystal_probability '1.1' is not a number from 0 to 1"),
        ("a.jpg,scored,clear,01,clear,,0.1,,,,,m", "line 2: probability '' is not a number"),
        ("a.jpg,scored,clear,01,clear,nan,0.1,,,,,m", "line 2: probability 'nan' is not a number"),
        ("a.jpg,unsure,,,,,,,,,,m", "line 2: crystal_probability '' is not a number"),
        (",unsure,,,,,0.1,,,,,m", "line 2: no image named"),
    ],
)
def test_bad_scores_are_one_clear_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        read_scores(written(tmp_path / "scores.csv", f"{HEADER}\n{row}\n"), "m")


def test_missing_files_and_columns_of_scores(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can not be read"):
        read_scores(tmp_path / "none.csv", "m")
    with pytest.raises(UsageError, match="no column 'status'"):
        read_scores(written(tmp_path / "scores.csv", "image,class\na.jpg,clear\n"), "m")


def test_score_files_are_named_after_themselves_their_folders_or_as_wished(tmp_path: Path) -> None:
    odd = written(tmp_path / "c=0.8.csv", "x")
    paths = [tmp_path / "x" / "a" / "scores.csv", tmp_path / "squeezenet.csv"]
    assert list(name_files([*map(str, paths), f"best={paths[0]}", str(odd)])) == ["a", "squeezenet", "best", "c=0.8"]
    assert list(name_files([str(tmp_path / "x/a/scores.csv"), str(tmp_path / "y/a/scores.csv")])) == ["x/a", "y/a"]
    with pytest.raises(UsageError, match="NAME=PATH"):
        name_files(["a.csv", "a.csv"])


# ---- matching ---------------------------------------------------------------------------------------------------


def test_an_equal_path_goes_first_and_frees_the_others() -> None:
    found = match(["A01.jpg", "p/A01.jpg"], ["p/A01.jpg", "q/A01.jpg"])
    assert found.pairs == {"p/A01.jpg": "p/A01.jpg", "A01.jpg": "q/A01.jpg"}
    assert found.by_name == ()


def test_folders_above_may_be_on_either_side() -> None:
    found = match(["data/p1/A01.jpg", "p2/A01.jpg"], ["p1/A01.jpg", "data/p2/A01.jpg"])
    assert found.pairs == {"data/p1/A01.jpg": "p1/A01.jpg", "p2/A01.jpg": "data/p2/A01.jpg"}


def test_a_name_with_two_candidates_is_not_guessed_from_either_side() -> None:
    one = match(["A01.jpg", "B.jpg"], ["p/A01.jpg", "q/A01.jpg", "B.jpg"])
    assert (one.pairs, one.ambiguous, one.labels_left, one.scores_left) == (
        {"B.jpg": "B.jpg"},
        ("A01.jpg",),
        ("A01.jpg",),
        ("p/A01.jpg", "q/A01.jpg"),
    )
    assert match(["p/A01.jpg", "q/A01.jpg"], ["A01.jpg"]).pairs == {}


def test_other_folders_are_matched_by_a_unique_name_only_and_told() -> None:
    found = match(["old/x.jpg", "old/y.jpg", "p/y.jpg"], ["new/x.jpg", "new/y.jpg"])
    assert found.pairs == {"old/x.jpg": "new/x.jpg"}
    assert found.by_name == (("old/x.jpg", "new/x.jpg"),)
    assert found.ambiguous == ("old/y.jpg", "p/y.jpg")
