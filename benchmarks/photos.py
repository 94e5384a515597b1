"""A made-up data set whose JPEGs are as hard to decode as photographs."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def made_up(folder: Path, count: int = 48) -> Path:
    """A data set of JPEGs with the spectrum of photographs, one object each."""
    draw = np.random.default_rng(0)
    (folder / "annotations").mkdir(parents=True)
    size, box = {"width": 640, "height": 480}, {"category_id": 1, "bbox": [9, 9, 99, 99]}
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", **size} for n in range(count)],
        "annotations": [{"id": n, "image_id": n, **box} for n in range(count)],
        "categories": [{"id": 1, "name": "thing"}],
    }
    for split in ("train", "val"):
        (folder / split).mkdir()
        for index in range(count):
            _photo_like(draw).save(folder / split / f"{index}.jpg", quality=90)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


def _photo_like(draw: np.random.Generator) -> Image.Image:
    """Amplitudes fall with frequency, as in photographs; so JPEG has as much to do."""
    distance = np.hypot(np.fft.fftfreq(480)[:, None], np.fft.fftfreq(640)) + 1 / 640
    noise = np.fft.fft2(draw.standard_normal((480, 640, 3)), axes=(0, 1))
    planes = np.fft.ifft2(noise / distance[..., None], axes=(0, 1)).real
    low, high = np.quantile(planes, [0.01, 0.99])
    return Image.fromarray(np.uint8(np.clip((planes - low) / (high - low), 0, 1) * 255))
