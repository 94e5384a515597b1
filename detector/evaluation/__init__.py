"""What a detector is worth: detections, COCO's matching and numbers, kinds of errors."""
