"""Made-up images, and detectors that were tested on them, of whom everything is known.

Images differ in difficulty, classes in frequency; two detectors fail on the same objects, more
often than not, and so do two trainings of one. Only the records of matches are made, no boxes.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from detector.evaluation.match_records import FALSE, IGNORED, IOUS, TRUE, Matches

SIZES = 3  # small, medium, large
SIZE_SHARES = (0.4, 0.35, 0.25)
SIZE_SKILL = np.array([-0.9, 0.1, 0.6])  # small objects are harder
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """N images and G objects, with what makes some harder than others for every detector."""

    difficulty: Floats  # [N]
    subject: Ints  # [N] the class that most of an image's objects are of
    image: Ints  # [G]
    category: Ints  # [G]
    size: Ints  # [G]
    ease: Floats  # [G]
    num_classes: int


def make_world(num_images: int, num_classes: int, random: np.random.Generator) -> World:
    """Class c is 1 / (c + 1) as frequent as the first; an image has one object or more."""
    shares = 1 / np.arange(1, num_classes + 1)
    shares /= shares.sum()
    subject = random.choice(num_classes, num_images, p=shares)
    image = np.repeat(np.arange(num_images), 1 + random.poisson(3, num_images))
    count = len(image)
    category = np.where(
        random.random(count) < 0.6, subject[image], random.choice(num_classes, count, p=shares)
    )
    size = random.choice(SIZES, count, p=SIZE_SHARES)
    difficulty = random.normal(0, 1, num_images)
    ease = SIZE_SKILL[size] - 0.7 * difficulty[image] + random.normal(0, 0.9, count)
    return World(difficulty, subject, image, category, size, ease, num_classes)


def detect(world: World, skill: Floats, random: np.random.Generator) -> Matches:
    """What a detector of some skill [C] for each class finds, as COCO judges it.

    A detection of another size's object, or of no object and another size, is ignored.
    """
    ease = world.ease + skill[world.category] + random.normal(0, 0.7, len(world.ease))
    iou = 1 - 0.5 * np.exp(-0.45 * ease) * random.uniform(0.5, 1.3, len(ease))
    seen = np.flatnonzero(iou > 0.3)
    score = expit(0.9 * ease[seen] + random.normal(0, 0.6, len(seen)))
    own_size = np.where(
        random.random(len(seen)) < 0.9, world.size[seen], random.choice(SIZES, len(seen))
    )
    no_image, no_category, no_size, no_score = _background(world, random)
    image = np.concatenate([world.image[seen], no_image])
    category = np.concatenate([world.category[seen], no_category])
    score = np.concatenate([score, no_score])
    order = np.lexsort((image, -score, category))
    none = np.full(len(no_image), -1)
    iou = np.concatenate([iou[seen], 0.0 * none])[order, None, None]
    size = np.concatenate([own_size, no_size])[order, None]
    truth_size = np.concatenate([world.size[seen], none])[order, None]
    areas = np.arange(-1, SIZES)  # all, small, medium, large
    hit = np.where((truth_size == areas) | (areas < 0), TRUE, IGNORED)[:, :, None]
    miss = np.where((size == areas) | (areas < 0), FALSE, IGNORED)[:, :, None]
    return Matches(
        image_ids=np.arange(len(world.difficulty)),
        category_ids=np.arange(world.num_classes),
        image=image[order].astype(np.int32),
        category=category[order].astype(np.int16),
        score=score[order],
        state=np.where(iou >= IOUS, hit, miss).astype(np.uint8),
        source=order.astype(np.int32),
        truth_image=world.image.astype(np.int32),
        truth_category=world.category.astype(np.int16),
        truth_counts=(world.size[:, None] == areas) | (areas < 0),
        truth_source=np.arange(len(world.image), dtype=np.int32),
    )


def _background(world: World, random: np.random.Generator) -> tuple[Ints, Ints, Ints, Floats]:
    """Detections where nothing is: image, category, size and score."""
    counts = random.poisson(3 * np.exp(0.4 * world.difficulty))
    image = np.repeat(np.arange(len(counts)), counts)
    anything = random.choice(world.num_classes, len(image))
    category = np.where(random.random(len(image)) < 0.6, world.subject[image], anything)
    size = random.choice(SIZES, len(image))
    return image, category, size, expit(random.normal(-1.2, 1.1, len(image)))


class Images:
    """The records of a population, image by image, of which samples are taken."""

    def __init__(self, matches: Matches) -> None:
        self.matches = matches
        self.found, self.truths = (
            (np.argsort(image, kind="stable"), np.bincount(image, minlength=len(matches.image_ids)))
            for image in (matches.image, matches.truth_image)
        )

    def sample(self, images: Ints) -> Matches:
        """[n] images, the same perhaps twice -> their records, as those of so many images."""
        found, image = _rows(images, *self.found)
        truths, truth_image = _rows(images, *self.truths)
        matches = self.matches
        order = np.lexsort((image, -matches.score[found], matches.category[found]))
        columns = {
            field.name: getattr(matches, field.name)[
                truths if "truth" in field.name else found[order]
            ]
            for field in fields(Matches)
            if not field.name.endswith("_ids")
        }
        columns |= {"image": image[order], "truth_image": truth_image}
        ids = np.arange(len(images))
        return Matches(image_ids=ids, category_ids=matches.category_ids, **columns)


def _rows(images: Ints, order: Ints, counts: Ints) -> tuple[Ints, NDArray[np.int32]]:
    """The rows of these images, and for each the place of its image among them.

    order: all rows, image by image; counts: how many each image has.
    """
    ends = np.cumsum(counts)[images]
    rows = [order[end - count : end] for end, count in zip(ends, counts[images], strict=True)]
    return np.concatenate(rows), np.repeat(np.arange(len(images), dtype=np.int32), counts[images])
