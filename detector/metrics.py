"""The numbers of COCO's evaluation, in its order and in percent: the paper prints six of twelve."""

from dataclasses import dataclass, fields


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
HEADINGS = {item.name: item.name.upper() for item in fields(Metrics)}

# COCO's twelve: name -> IoU, area of the objects in pixels, how many detections of an image count.
# AP is precision, averaged over recall, AR the highest recall; both are means over the IoUs and the
# categories.
COCO_NUMBERS = {
    "AP": ("0.50:0.95", "all", 100),
    "AP50": ("0.50", "all", 100),
    "AP75": ("0.75", "all", 100),
    "APS": ("0.50:0.95", "small, below 32 x 32", 100),
    "APM": ("0.50:0.95", "medium", 100),
    "APL": ("0.50:0.95", "large, above 96 x 96", 100),
    "AR1": ("0.50:0.95", "all", 1),
    "AR10": ("0.50:0.95", "all", 10),
    "AR100": ("0.50:0.95", "all", 100),
    "ARS": ("0.50:0.95", "small, below 32 x 32", 100),
    "ARM": ("0.50:0.95", "medium", 100),
    "ARL": ("0.50:0.95", "large, above 96 x 96", 100),
}
