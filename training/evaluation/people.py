"""What the labels file holds, and how far the people in it agree (P21)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from training.evaluation.labels import LabelledImage, Labels
from training.evaluation.measures import Ints
from training.evaluation.measures.agreement import pair_agreement, specific_agreement
from training.evaluation.results import Agreement, LabelSummary
from training.evaluation.sample import GROUPS, IMAGE_CLASSES

NO_SOURCE = "not stated"


def group_votes(images: Sequence[LabelledImage]) -> Ints:
    """How many people named each group, (images, 4)."""
    return _votes([[str(judgement.group) for judgement in image.judgements] for image in images], GROUPS)


def agreement(images: Sequence[LabelledImage]) -> Agreement:
    """Agreement of people with each other over the images that at least two saw."""
    shared = [image for image in images if len(image.judgements) > 1]
    named = [[judgement.class_name or "" for judgement in image.judgements] for image in shared]
    with_classes = [names for names in named if all(names)]
    votes = group_votes(shared)
    return Agreement(
        images=len(shared),
        people=max((len(image.judgements) for image in shared), default=0),
        groups=pair_agreement(votes),
        classes=pair_agreement(_votes(with_classes, IMAGE_CLASSES)),
        class_images=len(with_classes),
        by_group=dict(zip(GROUPS, map(float, specific_agreement(votes)), strict=True)),
    )


def _votes(words: Sequence[Sequence[str]], names: Sequence[str]) -> Ints:
    votes = np.zeros((len(words), len(names)), dtype=np.int64)
    for row, said in zip(votes, words, strict=True):
        for word in said:
            row[names.index(word)] += 1
    return votes


def summary(labels: Labels) -> LabelSummary:
    """How many images the file labels, as what, by whom, and what was odd in it."""
    images = list(labels.images.values())
    judgements = [image.consensus.judgement for image in images]
    groups = Counter(str(judgement.group) for judgement in judgements)
    classes = Counter(judgement.class_name for judgement in judgements)
    return LabelSummary(
        path=labels.path,
        words=str(labels.words),
        images=len(images),
        by_group={name: groups[name] for name in GROUPS},
        by_class={name: classes[name] for name in IMAGE_CLASSES},
        empty_wells=sum(judgement.empty for judgement in judgements),
        by_source=dict(Counter(image.source or NO_SOURCE for image in images).most_common()),
        plates=len({image.plate for image in images if image.plate}),
        unlabelled=labels.unlabelled,
        scored_again=labels.scored_again,
        several_people=sum(len(image.judgements) > 1 for image in images),
        tied=tuple(image.image for image in images if image.consensus.tied),
    )
