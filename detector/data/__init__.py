"""Images and boxes: COCO data sets, the generated one, batches."""
