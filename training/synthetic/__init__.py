"""Drawn wells with ground truth, for training, tests and the demo: pure functions of a seed."""

from training.synthetic.chops import Chop, draw_chops, label_chop
from training.synthetic.drawing import DROP_CLASSES, SyntheticWell, draw_time_course, draw_well
from training.synthetic.layer import Box, mark_of
from training.synthetic.unseen import UNSEEN_IMAGERS
from training.synthetic.uv import Nature, draw_uv_mate, nature_of
from training.synthetic.wells import IMAGERS

__all__ = [
    "DROP_CLASSES",
    "IMAGERS",
    "UNSEEN_IMAGERS",
    "Box",
    "Chop",
    "Nature",
    "SyntheticWell",
    "draw_chops",
    "draw_time_course",
    "draw_uv_mate",
    "draw_well",
    "label_chop",
    "mark_of",
    "nature_of",
]
