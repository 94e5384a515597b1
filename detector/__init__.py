"""A dense detector with a switch for every difference between RetinaNet and FCOS (Sec. 3)."""
