"""Agreement of people with each other and with the program (P21)."""

from __future__ import annotations

from training.evaluation.report.columns import ELSEWHERE
from training.evaluation.report.table import Cell, Rate, Section, Table
from training.evaluation.results import Evaluation

_PEOPLE_TEXT = (
    "How often two people who look at one image say the same (P21). Of a group: when one person names it, how often another one does too. "
    "For a program: how often it says what one person says, on the images that several people saw.",
)


def people_section(evaluation: Evaluation) -> Section:
    """Where several people saw one image, and the paper's figures."""
    return Section("People", _PEOPLE_TEXT, tables=(_agreement_table(evaluation),))


def _agreement_table(evaluation: Evaluation) -> Table:
    people = evaluation.agreement
    rows: list[tuple[Cell, ...]] = [
        ("two people, the four groups", Rate(people.groups), people.images),
        *((f"two people, {name}", Rate(rate), people.images) for name, rate in people.by_group.items()),
        ("two people, the twelve classes", Rate(people.classes), people.class_images),
        *((f"{file.name} and one person, the four groups", Rate(file.program_agreement), None) for file in evaluation.files),
        ("Paper: two people, all classes", Rate(0.695), ELSEWHERE),
        ("Paper: two people, single crystals", Rate(0.847), ELSEWHERE),
        ("Paper: two people, empty drops", Rate(0.916), ELSEWHERE),
    ]
    note = "" if people.images else "No image in the labels file was scored by more than one person."
    return Table("People", "Agreement", ("who", "agree %", "images seen by several"), tuple(rows), note, reference=3)
