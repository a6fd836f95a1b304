"""Crystals that people or the network found, with the conditions that gave them (P33)."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scored_lab import Lab, image_name
from sqlalchemy import text

from crystal_search.classes import CRYSTAL_CLASSES
from crystal_search.errors import EXIT_DONE, EXIT_SOME_FAILED, SettingsError, UsageError
from crystal_search.hits.cli import hits
from crystal_search.hits.find import find_hits
from crystal_search.ledger.crystals import AutomaticScore
from crystal_search.plate import Drop, Inspection, InspectionImage, Well
from crystal_search.xtaltrak.load import load
from crystal_search.xtaltrak.people import PersonScore

DETAILS = """barcode,well,condition,project,sample,family
CI000001,A01,"0.1 M HEPES pH 7.5, 20 % PEG 3350",Kinases,PKA 12,AGC kinases
CI000001,A02,2 M ammonium sulfate,Kinases,,
CI000001,A03,2 M ammonium sulfate,,PKA 13,AGC kinases
XY2,B01,2 M ammonium sulfate,Proteases,Trypsin,Serine proteases
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Two plates. A01: both say crystal; A02: the network alone; A03: a person alone, the network clear; A04: a person takes it
    back; A05: only the network's second pass; A06: only its first; A07: nobody; B01 of the second plate: the network.
    """
    lab = Lab(tmp_path_factory.mktemp("lab")).create()
    (lab.root / "crystal-search.toml").write_text('[paths]\nstate = "state"\nimages = "images"\n')
    shots = [(f"A{column:02d}a", 1) for column in range(1, 8)]
    lab.inspect(*shots)
    lab.inspect(("B01c", 2), barcode="XY2")
    first = ["crystals_harvestable", "crystals_bad_form", "clear", "clear", "clear", "crystals_overnucleated", "precipitate"]
    lab.batch(dict(zip(shots, first, strict=True)))
    lab.batch({("A05a", 1): "crystals_harvestable", ("A06a", 1): "unsure"}, scoring='{"step":16}')
    lab.batch({("B01c", 2): "crystals_harvestable"}, barcode="XY2")
    lab.finish()
    lab.person("A01a", 1, "21", "Berta")
    lab.person("A03a", 1, "23", "Jan", image=False)
    lab.person("A04a", 1, "22", "Berta", days=1)
    lab.person("A04a", 1, "01", "Jan", days=2)
    lab.person("A07a", 1, "13", None)
    (lab.root / "details.csv").write_text(DETAILS)
    loaded(lab, lab.root / "details.csv")
    return lab


def loaded(lab: Lab, path: Path, code: int = EXIT_DONE) -> None:
    call = ["--settings", str(lab.root / "crystal-search.toml"), str(path), "--from", "details"]
    assert CliRunner().invoke(load, call, catch_exceptions=False).exit_code == code


def told(lab: Lab, *options: str) -> list[dict[str, str]]:
    result = CliRunner().invoke(hits, ["--settings", str(lab.root / "crystal-search.toml"), *options], catch_exceptions=False)
    assert result.exit_code == EXIT_DONE
    return list(csv.DictReader(result.stdout.splitlines()))


def wells(lab: Lab, *options: str) -> list[str]:
    return [row["barcode"] + " " + row["well"] + row["drop"] for row in told(lab, *options)]


ALL = ["CI000001 A01a", "CI000001 A02a", "CI000001 A03a", "CI000001 A05a", "XY2 B01c"]


def test_what_either_calls_a_crystal_with_both_evaluations(lab: Lab) -> None:
    rows = told(lab)
    assert [row["barcode"] + " " + row["well"] + row["drop"] for row in rows] == ALL
    evaluations = [tuple(row[key] for key in ("manual_class", "manual_score", "manual_by", "automatic_class")) for row in rows]
    assert evaluations == [
        ("crystals_overnucleated", "21", "Berta", "crystals_harvestable"),
        ("", "", "", "crystals_bad_form"),
        ("crystals_harvestable", "23", "Jan", "clear"),
        ("", "", "", "crystals_harvestable"),
        ("", "", "", "crystals_harvestable"),
    ]
    first = rows[0]
    assert (first["inspection"], first["inspected_at"], first["image"]) == ("1", "2024-03-08 09:30:00", image_name("A01a", 1))
    assert (first["manual_at"], first["crystal_probability"], first["model"]) == ("2024-03-09 09:30:00", "0.90625", "tiny")
    assert rows[2]["image"] == image_name("A03a", 1)  # the score was of the inspection; the network's image says which


def test_the_conditions_samples_projects_and_families(lab: Lab) -> None:
    rows = told(lab)
    assert [row["condition"] for row in rows] == [
        "0.1 M HEPES pH 7.5, 20 % PEG 3350",
        "2 M ammonium sulfate",
        "2 M ammonium sulfate",
        "",
        "2 M ammonium sulfate",
    ]
    assert [(row["project"], row["samples"], row["families"]) for row in rows] == [
        *[("Kinases", "PKA 12; PKA 13", "AGC kinases")] * 4,
        ("Proteases", "Trypsin", "Serine proteases"),
    ]


def test_which_conditions_gave_crystals(lab: Lab) -> None:
    counts = [(row["condition"], row["drops"], row["images"]) for row in told(lab, "--count-by", "condition")]
    assert counts == [("2 M ammonium sulfate", "3", "3"), ("", "1", "1"), ("0.1 M HEPES pH 7.5, 20 % PEG 3350", "1", "1")]
    assert [tuple(row.values()) for row in told(lab, "--count-by", "family")] == [("AGC kinases", "4", "4"), ("Serine proteases", "1", "1")]


def test_a_drop_counts_once_however_often_it_was_imaged(tmp_path: Path) -> None:
    lab = Lab(tmp_path).create()
    (lab.root / "crystal-search.toml").write_text('[paths]\nstate = "state"\nimages = "images"\n')
    shots = [("A01a", 1), ("A01a", 2), ("A01b", 1)]
    lab.inspect(*shots)
    lab.batch(dict.fromkeys(shots, "crystals_harvestable"))
    assert told(lab, "--count-by", "project") == [{"project": "", "drops": "2", "images": "3"}]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--plate", "XY*"), ALL[4:]),
        (("--plate", "CI00000?"), ALL[:4]),
        (("--project", "Kin*"), ALL[:4]),
        (("--project", "kin*"), []),
        (("--family", "Serine*"), ALL[4:]),
        (("--since", "2024-03-08"), ALL),
        (("--since", "2024-03-09"), ALL[4:]),
        (("--until", "2024-03-08"), ALL[:4]),
        (("--until", "2024-03-07"), []),
        (("--min-probability", "0.91"), [ALL[0], ALL[2]]),  # what people called crystals stays
        (("--min-probability", "0.9"), ALL),
    ],
)
def test_what_is_asked_for(lab: Lab, options: tuple[str, ...], expected: list[str]) -> None:
    assert wells(lab, *options) == expected


@pytest.mark.parametrize("page", [1, 2, 3])
def test_pages_lose_nothing(lab: Lab, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told(lab)
    monkeypatch.setattr("crystal_search.ledger.crystals.PAGE", page)
    monkeypatch.setattr("crystal_search.xtaltrak.people.PAGE", page)
    monkeypatch.setattr("crystal_search.hits.choose._PLATES", 1)
    assert told(lab) == whole


def test_our_own_rows_are_nobodys_opinion(lab: Lab) -> None:
    """set-autoscore wrote crystals of the first pass into the score table; they are the network's evaluation, not a person's."""
    assert any(row[5] == "ARTscore" and row[3] in ("21", "22", "23") for row in lab.scores())
    assert not any(row["manual_by"] == "ARTscore" for row in told(lab))


def test_into_a_file(lab: Lab, tmp_path: Path) -> None:
    assert told(lab, "--out", str(tmp_path / "hits.csv")) == []
    assert len((tmp_path / "hits.csv").read_text().splitlines()) == 1 + len(ALL)


def test_what_is_not_mapped_is_not_asked_for(lab: Lab) -> None:
    file = lab.root / "other.toml"
    file.write_text(
        '[paths]\nstate = "state"\n[xtaltrak]\ndetails = ["samples"]\nnames = { PROJECTS = "NOWHERE", WELL_CONDITIONS = "NONE" }\n'
    )

    def run(*options: str) -> str:
        result = CliRunner().invoke(hits, ["--settings", str(file), *options], catch_exceptions=False)
        assert result.exit_code == EXIT_DONE
        return result.stdout

    rows = list(csv.DictReader(run().splitlines()))
    assert (rows[0]["project"], rows[0]["samples"], rows[0]["condition"]) == ("", "PKA 12; PKA 13", "")
    for option in ("--project=K*", "--count-by=condition", "--family=A*"):
        with pytest.raises(UsageError, match=r"^\w+ are not mapped: xtaltrak\.details"):
            run(option)
    file.write_text('[paths]\nstate = "state"\n[xtaltrak]\nnames = { PROJECTS = "NOWHERE" }\n')
    with pytest.raises(SettingsError, match="no such table: NOWHERE"):
        run()


# ---- details --------------------------------------------------------------------------------------------------------


def test_one_bad_row_of_details_fails_alone(lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = {
        "NOWHERE,,,Kinases,,": "XtalTrak has no plate 'NOWHERE'",
        "CI000001,,,Proteases,,": "plate CI000001 has the project 'Kinases' already",
        "CI000001,A01,,,,": "a condition needs a well",
        "CI000001,,water,,,": "a condition needs a well",
        "CI000001,Q99,water,,,": "no plate has a well",
        "CI000001,,,,,Kinases": "a family without a sample",
        "CI000001,A01": "2 cells, the header has 6",
    }
    before = told(lab)
    path = tmp_path / "details.csv"
    path.write_text("barcode,well,condition,project,sample,family\n" + "\n".join([*lines, "XY2,,,Proteases,,"]) + "\n")
    loaded(lab, path, EXIT_SOME_FAILED)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == len(lines)
    for (number, reason), line in zip(enumerate(lines.values(), 2), said, strict=True):
        assert line.startswith(f"skipped details.csv line {number}: ")
        assert reason in line
    assert told(lab) == before
    loaded(lab, lab.root / "details.csv")  # again: the same
    assert told(lab) == before
    assert lab.execute("SELECT (SELECT count(*) FROM PROJECTS), (SELECT count(*) FROM SAMPLES)") == [(2, 3)]


# ---- against a plain reckoning ---------------------------------------------------------------------------------------


def test_the_merge_is_what_a_plain_reckoning_gives() -> None:
    """300 random inspections of up to three images, scored by people and the network; the reckoning holds all of them at once."""
    chance = random.Random(20231107)
    day = datetime(2024, 3, 1)
    drop = Drop("CI1", Well(1, 1), 1)
    people: list[PersonScore] = []
    automatic: dict[tuple[int, str], AutomaticScore] = {}
    for number in range(1, 301):
        names = [f"i{n}.jpg" for n in range(chance.randint(1, 3))]
        for name in names:
            if chance.random() < 0.7:
                found = chance.choice([*CRYSTAL_CLASSES, "clear", "precipitate"])
                image = InspectionImage(number, name, drop, Inspection("CI1", 1, day))
                automatic[number, name] = AutomaticScore(image, "scored", found, "", 0.9, 0.9, "m")
        for score_id in range(chance.randint(0, 3)):
            score, when = chance.choice(["23", "01", "22", "13", "99", None]), chance.choice(["2024-03-02", "2024-03-03", None])
            people.append(PersonScore(number, score_id, chance.choice([*names, None]), score, when, "B", drop, Inspection("CI1", 1, day)))
    crystals = [found for found in automatic.values() if found.class_name in CRYSTAL_CLASSES]

    def look_up(inspection_id: int, name: str | None) -> AutomaticScore | None:
        return automatic.get((inspection_id, name)) if name else None

    def seen(found: Iterator[Any]) -> set[tuple[Any, ...]]:
        listed = [(hit.inspection_id, hit.image_name, hit.manual and hit.manual.score_id, hit.automatic) for hit in found]
        assert len(listed) == len(set(listed))
        assert [hit[0] for hit in listed] == sorted(hit[0] for hit in listed)
        return set(listed)

    def newest(scores: list[PersonScore]) -> PersonScore | None:
        return sorted(scores, key=lambda s: (s.scored_at or "", s.score_id))[-1] if scores else None

    expected: set[tuple[Any, ...]] = set()
    for found in crystals:
        number, name = found.image.inspection_id, found.image.image_name
        manual = newest([s for s in people if s.inspection_id == number and s.image_name in (name, None)])
        expected.add((number, name, manual and manual.score_id, found))
    with_crystal = {(found.image.inspection_id, found.image.image_name) for found in crystals}
    for number, name in {(s.inspection_id, s.image_name) for s in people}:
        if (number, name) in with_crystal or (name is None and number in {n for n, _ in with_crystal}):
            continue
        manual = newest([s for s in people if (s.inspection_id, s.image_name) == (number, name)])
        assert manual is not None
        if manual.score in ("21", "22", "23"):
            expected.add((number, name, manual.score_id, automatic.get((number, name)) if name else None))
    assert len(expected) > 200
    assert seen(find_hits(people, crystals, look_up)) == expected


def test_a_result_without_a_person_and_a_person_without_a_result(tmp_path: Path) -> None:
    lab = Lab(tmp_path).create()
    (lab.root / "crystal-search.toml").write_text('[paths]\nstate = "state"\nimages = "images"\n')
    lab.inspect(("A01a", 1), ("A02a", 1))
    lab.batch({("A02a", 1): "failed"})
    lab.person("A01a", 1, "23", image=False)
    lab.person("A02a", 1, "23", None)  # whoever has no name is a person
    with lab.ledger() as ledger, ledger.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM artscores")).scalar_one() == 0
    assert [(row["well"], row["image"], row["automatic_class"]) for row in told(lab)] == [
        ("A01", "", ""),
        ("A02", image_name("A02a", 1), ""),
    ]
