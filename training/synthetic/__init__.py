"""Drawn wells with ground truth, for training, tests and the demo: pure functions of a seed."""

from training.synthetic.chops import Chop, draw_chops, label_chop
from training.synthetic.drawing import DROP_CLASSES, SyntheticWell, draw_time_course, draw_well
from training.synthetic.layer import Box, mark_of
from training.synthetic.wells import IMAGERS

__all__ = [
    "DROP_CLASSES",
    "IMAGERS",
    "Box",
    "Chop",
    "SyntheticWell",
    "draw_chops",
    "draw_time_course",
    "draw_well",
    "label_chop",
    "mark_of",
]
