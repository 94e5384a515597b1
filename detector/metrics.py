"""The six numbers of COCO's evaluation that the paper prints, in its order and in percent."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metrics:
    """Average precision in percent, None where unknown or undefined (no object of that size).

    ap: mean over IoU 0.50:0.05:0.95; ap50, ap75: at one IoU; ap_s, ap_m, ap_l: of objects
    smaller than 32^2 pixels, between, and larger than 96^2.
    """

    ap: float | None = None
    ap50: float | None = None
    ap75: float | None = None
    ap_s: float | None = None
    ap_m: float | None = None
    ap_l: float | None = None


# Field name -> how the paper heads the column.
HEADINGS = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_s": "AP_S",
    "ap_m": "AP_M",
    "ap_l": "AP_L",
}
