"""The paper's Table 2 (P12 to P14), as reference; Table 3 is in ``training.evaluation.paper``. Both are of other data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaperTraining:
    """Accuracies in percent on validation chops, size in MB, epochs; None where the paper states none."""

    network: str
    accuracy: float
    top5: float | None
    loss: float | None
    megabytes: float | None
    layers: int | None
    epochs: int | None


#: The sizes are of networks with 13 outputs; SqueezeNet's fits 742 093 parameters (1.0).
TABLE_2: tuple[PaperTraining, ...] = (
    PaperTraining("AlexNet, 13 classes", 78.2, 97.4, 0.73, 223, 8, 100),
    PaperTraining("VggNet-16, 13 classes", 76.5, 96.5, 0.77, 513, 16, 70),
    PaperTraining("ResNet-50, 13 classes", 79.5, 97.7, 0.66, 90, 50, 55),
    PaperTraining("SqueezeNet, 13 classes", 79.4, 97.6, 0.64, 2.9, 18, 200),
    PaperTraining("AlexNet, 5 classes", 82.3, None, None, None, 8, None),
    PaperTraining("AlexNet, MARCO's 4 classes", 88.5, None, None, None, 8, None),
)
