"""The paper's detectors, each a change of its parent, so that the difference is what one reads."""

from dataclasses import replace

from detector.config import DetectorConfig

RETINANET = DetectorConfig()  # RetinaNet (#A=1), Sec. 3.1
IMPROVED_RETINANET = replace(  # after the universal improvements, Sec. 3.2
    RETINANET, group_norm=True, giou_loss=True, in_gt_box=True, centerness=True, scalar=True
)
# With the same details as the other corners (box loss of weight 2, bias of 4), so that Table 2 is a
# clean two by two. Whether the paper's own FCOS run had them is not known.
FCOS = replace(IMPROVED_RETINANET, assigner="ssc", regress_from="point")  # Sec. 3.3
FCOS_CENTER_SAMPLING = replace(FCOS, assigner="center_sampling")  # the lite version, Sec. 4.2
FCOS_ATSS = replace(FCOS, assigner="atss")  # the full version on points, Sec. 4.2
ATSS = replace(IMPROVED_RETINANET, assigner="atss")  # the full version on boxes, Sec. 4.2
