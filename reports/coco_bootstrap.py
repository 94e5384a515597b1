"""COCO's six numbers where every image counts as often as one likes, without matching again.

An image's weight is how often it stands in the sample: 1 everywhere gives pycocotools' numbers, to
the last bit; those of a bootstrap are drawn with replacement.

Shapes: R samples, I images; D detections of a category, K of them true; 4 areas, 10 IoUs, 101
recalls; the last axis of numbers is the six fields of Metrics, in their order.
"""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from detector.evaluation.errors import ALL
from detector.evaluation.match_records import AREAS, IGNORED, IOUS, TRUE, Matches
from detector.metrics import HEADINGS, Metrics

RESAMPLES = 1000
SEED = 2020  # the paper's year; the same for all runs, so that their draws are paired
RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
BLOCK = 128  # samples at a time: what is needed for them is about 100 MB for COCO
TINY = np.spacing(1)  # as pycocotools has it, against 0 / 0
NONE = -1.0  # the precision of a category without objects
VERSION = 1  # of the draws; raised when they are drawn or computed in another way

Numbers = NDArray[np.float64]
Ints = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Scores:
    """One run's six numbers, and what they would be for resampled images.

    draws [R, 6]: percent, NaN where undefined. The r-th draw of two runs on the same images is of
    the same resample, so differences are paired.
    """

    signature: str
    seed: int
    metrics: Metrics
    draws: Numbers
    images: str  # digest of the images' ids: only draws of the same images are paired
    num_images: int

    @property
    def digest(self) -> str:
        """Of the draws, by which two files of them are told apart."""
        return hashlib.sha256(np.ascontiguousarray(self.draws, "<f8").tobytes()).hexdigest()


def score(signature: str, seed: int, metrics: Metrics, matches: Matches) -> Scores:
    """A run's six numbers under resampled images."""
    num_images = len(matches.image_ids)
    draws = metrics_of(matches, image_weights(num_images, RESAMPLES))
    images = hashlib.sha256(matches.image_ids.astype("<i8").tobytes()).hexdigest()
    return Scores(signature, seed, metrics, draws, images, num_images)


def of_crowds(scores: Scores, matches: Matches) -> Scores:
    """A run's numbers on images with more objects than the median, less those on all others.

    A difference of two of them is how much more one run gains in crowds.
    """
    num_objects = truths_of(matches).sum(axis=1)
    is_crowd = num_objects > np.median(num_objects)
    drawn = image_weights(len(num_objects), RESAMPLES)
    weights = np.concatenate([np.ones_like(drawn[:1]), drawn])  # every image once, then as drawn
    crowds, others = (metrics_of(matches, weights * it) for it in (is_crowd, ~is_crowd))
    value, *draws = crowds - others
    metrics = Metrics(*(float(it) if np.isfinite(it) else None for it in value))
    return replace(scores, metrics=metrics, draws=np.array(draws))


def save_scores(scores: Scores, path: Path, *, source: str) -> None:
    """Write the draws as NumPy's archive. source: digest of the matches they are made of."""
    told = {name: getattr(scores, name) for name in ("draws", "images", "num_images")}
    with path.open("wb") as file:
        np.savez_compressed(file, version=VERSION, source=source, **told)


def load_scores(path: Path, signature: str, seed: int, metrics: Metrics, *, source: str) -> Scores:
    """The inverse of save_scores; ValueError for draws made of other matches, or differently."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if int(kept["version"]) != VERSION or str(kept["source"]) != source:
                raise ValueError("they are made of other matches, or in another way")
            images = str(kept["images"]), int(kept["num_images"])
            return Scores(signature, seed, metrics, kept["draws"], *images)
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} has no draws of this run: {error}") from error


def image_weights(num_images: int, resamples: int) -> Ints:
    """[R, I]: how often each image is drawn when num_images are, with replacement, R times.

    They depend on nothing else: so the r-th sample of two runs on the same images is the same.
    """
    random = np.random.default_rng(SEED)
    drawn = random.integers(0, num_images, (resamples, num_images))
    return np.stack([np.bincount(row, minlength=num_images) for row in drawn]).astype(np.uint8)


def metrics_of(matches: Matches, weights: Ints) -> Numbers:
    """[R, I] whole numbers -> [R, 6] in percent, NaN where there is nothing to find.

    Equal to pycocotools' for a data set in which every image stands as often as its weight says.
    """
    return np.concatenate([_numbers(matches, block) for block in _blocks(weights)])


def _blocks(weights: Ints) -> Iterator[Ints]:
    """For as many samples as memory holds."""
    return (weights[start : start + BLOCK] for start in range(0, len(weights), BLOCK))


def _numbers(matches: Matches, weights: Ints) -> Numbers:
    """[R, I] -> [R, 6]."""
    parts = by_metric([precisions(matches, weights, area) for area in range(len(AREAS))])
    return np.array([[_mean(one) for one in part] for part in parts.values()]).T


def by_metric(precision: Sequence[Numbers]) -> dict[str, Numbers]:
    """[.., 10, 101, C] by area -> [.., T, 101, C], of which a field of Metrics is the mean."""
    every, *by_size = precision
    parts = (every, *(every[..., iou == IOUS, :, :] for iou in (0.5, 0.75)), *by_size)
    return dict(zip(HEADINGS, parts, strict=True))


def _mean(precision: Numbers) -> float:
    """In percent, over all that is defined, summed as pycocotools does."""
    defined = precision[precision > NONE]
    return 100 * float(defined.mean()) if defined.size else np.nan


def class_precisions(matches: Matches, weights: Ints) -> Numbers:
    """[R, I] -> [R, C]: AP of each class in percent, NaN where there is nothing to find."""
    parts = (precisions(matches, block, ALL) for block in _blocks(weights))  # [.., 10, 101, C]
    found = [np.where(it[:, 0, 0] > NONE, 100 * it.mean(axis=(1, 2)), np.nan) for it in parts]
    return np.concatenate(found)


def recalls(matches: Matches, weights: Ints) -> Numbers:
    """[R, I] -> [R]: COCO's AR for at most 100 detections in percent; NaN with nothing to find."""
    truths = truths_of(matches)
    share = (matches.state[:, ALL] == TRUE).mean(axis=1)  # of the IoUs
    found = csr_array((share, (matches.image, matches.category)), shape=truths.shape)
    num_truths, num_found = weights @ truths, weights @ found  # [R, C]
    with np.errstate(invalid="ignore"):
        of_classes = num_found / np.maximum(num_truths, 1)
        return 100 * of_classes.sum(axis=1) / (num_truths > 0).sum(axis=1)


def truths_of(matches: Matches) -> csr_array:
    """[I, C]: how many objects have to be found."""
    counts = matches.truth_counts[:, ALL]
    places = matches.truth_image[counts], matches.truth_category[counts]
    shape = len(matches.image_ids), len(matches.category_ids)
    return csr_array((np.ones(counts.sum()), places), shape=shape)


def precisions(matches: Matches, weights: Ints, area: int) -> Numbers:
    """[R, I] -> [R, 10, 101, C]: precision at 101 recalls as COCO reads it; NONE without objects.

    At a recall it is the highest that any detection reaches there or beyond.
    """
    num_categories = len(matches.category_ids)
    result = np.full((len(weights), len(IOUS), len(RECALLS), num_categories), NONE)
    by_image = np.ascontiguousarray(weights.T, dtype=np.int32)  # sums stay exact
    ends = np.searchsorted(matches.category, np.arange(num_categories + 1))
    for category in range(num_categories):
        is_sought = matches.truth_counts[:, area] & (matches.truth_category == category)
        num_truths = by_image[matches.truth_image[is_sought]].sum(axis=0)
        is_there = num_truths > 0
        if not is_there.any():
            continue
        mine = slice(ends[category], ends[category + 1])
        image, state = matches.image[mine], matches.state[mine, area]
        for iou in range(len(IOUS)):
            result[:, iou, :, category] = _curve(image, state[:, iou], by_image, num_truths)
        result[~is_there, :, :, category] = NONE
    return result


def _curve(image: Ints, state: Ints, weights: Ints, num_truths: Ints) -> Numbers:
    """[D], [D], [I, R], [R] -> [R, 101]. Only true detections raise recall and best precision."""
    image, state = image[state != IGNORED], state[state != IGNORED]
    places = np.flatnonzero(state == TRUE)
    ends = np.concatenate([[0], places + 1])  # detections from one true one to the next
    ones = np.ones(ends[-1], dtype=np.int32)
    steps = csr_array((ones, image[: ends[-1]], ends), shape=(len(places), len(weights)))
    num_found = np.ascontiguousarray((steps @ weights).T).cumsum(axis=1, dtype=np.int32)  # [R, K]
    num_true = np.ascontiguousarray(weights[image[places]].T).cumsum(axis=1, dtype=np.int32)
    precision = num_true / (num_found + TINY)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return _at_recalls(num_true / np.maximum(num_truths, 1)[:, None], best)


def _at_recalls(recall: Numbers, precision: Numbers) -> Numbers:
    """[R, K], [R, K] -> [R, 101]: the precision where a recall is first reached, 0 beyond."""
    (num_samples, length), size = recall.shape, len(RECALLS) + 1
    row = np.arange(num_samples)[:, None]
    reached = np.rint(100 * recall).astype(np.intp)  # how many of RECALLS: this, or one more
    reached += RECALLS[reached] <= recall
    reached += size * row
    counts = np.bincount(reached.ravel(), minlength=size * num_samples)
    place = counts.reshape(num_samples, size)[:, :-1].cumsum(axis=1)  # [R, 101], K where beyond
    padded = np.zeros((num_samples, length + 1))
    padded[:, :-1] = precision
    return padded.take(place + (length + 1) * row)
