"""The paper's Table 3 (P20), the reference that a report shows; measured on other data: 16 plates, 2400 images of the authors' lab."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaperRow:
    """Success rates in percent of crystal, precipitate, other, clear, and the weighted mean as printed there."""

    network: str
    rates: tuple[float, float, float, float]
    weighted_mean: float


#: What Bruno et al. (2018) published for MARCO's own test split: more than this share of whole images in the right one of four classes.
MARCO_ACCURACY = 0.94
#: The source of images that `dataset unpack` took out of TFRecords, MARCO's form.
TFRECORD = "tfrecord"

#: How many images these rates are of.
IMAGES = 2400

#: Without the MARCO row one set of frequencies (34 % crystal, 47 % precipitate, 4 % other, 15 % clear) gives all the means to 0.3
#: points; the MARCO row's mean can not come from these (they would give 55.5), so it was weighed otherwise.
TABLE_3: tuple[PaperRow, ...] = (
    PaperRow("AlexNet, 13 classes", (76.88, 69.81, 55.48, 85.10), 74.16),
    PaperRow("AlexNet, 5 classes", (64.09, 71.33, 51.04, 73.76), 68.33),
    PaperRow("AlexNet, MARCO", (81.42, 37.11, 7.39, 67.56), 69.42),
    PaperRow("VggNet", (60.05, 73.53, 54.24, 71.18), 68.07),
    PaperRow("ResNet", (72.44, 66.31, 62.03, 77.26), 70.05),
    PaperRow("SqueezeNet, c = 0.85", (69.86, 78.55, 67.14, 89.95), 77.09),
    PaperRow("SqueezeNet, c = 0.80", (74.31, 76.46, 66.77, 87.96), 77.00),
)
