"""What 1,000 resamples of COCO's 5,000 images take, and that they are what pycocotools would say.

    python benchmarks/bootstrap.py [--images 5000] [--resamples 1000] [--checked 2]

A made-up data set of COCO's size is evaluated once; from its records follow the numbers of all
resamples. --checked of them are evaluated by pycocotools as well, as data sets in which images
really stand several times: that must give the same numbers, and tells what resampling by evaluating
would take. Two runs at once, each in a process, are a paired comparison. Writes bootstrap.json and
bootstrap.md.
"""

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pages

from detector.evaluation.match_records import load_matches, save_matches
from reports.coco_bootstrap import image_weights, metrics_of

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from by_pycocotools import by_pycocotools  # noqa: E402

CATEGORIES, TRUTHS, DETECTIONS = 80, 7.2, 100  # the latter of an image, as COCO and our tests have
GOAL = 60.0  # seconds
Detection = dict[str, Any]


def made_up(num_images: int) -> tuple[dict[str, Any], list[Detection]]:
    """Ground truth and detections: most objects are found more or less, much else is, too."""
    random = np.random.default_rng(0)
    shares = 1 / np.arange(1, CATEGORIES + 1)
    shares /= shares.sum()
    num_truths = round(TRUTHS * num_images)
    image = random.integers(0, num_images, num_truths)
    category = random.choice(CATEGORIES, num_truths, p=shares)
    sides = np.exp(random.normal(4, 0.9, (num_truths, 2))).clip(2, 600)
    boxes = np.concatenate([random.uniform(0, 400, (num_truths, 2)), sides], axis=1)
    is_crowd = random.random(num_truths) < 0.01
    truth = {
        "images": [{"id": number} for number in range(num_images)],
        "categories": [{"id": number, "name": str(number)} for number in range(CATEGORIES)],
        "annotations": rows(
            id=np.arange(num_truths),
            image_id=image,
            category_id=category,
            bbox=boxes,
            area=boxes[:, 2] * boxes[:, 3] * 0.7,
            iscrowd=is_crowd.astype(int),
        ),
    }
    near = np.flatnonzero(random.random(num_truths) < 0.75)
    found = boxes[near] * np.exp(random.normal(0, 0.08, (len(near), 4)))
    num_far = DETECTIONS * num_images - len(near)
    far = np.concatenate(
        [random.uniform(0, 400, (num_far, 2)), np.exp(random.normal(4, 0.9, (num_far, 2)))], axis=1
    )
    return truth, rows(
        image_id=np.concatenate([image[near], random.integers(0, num_images, num_far)]),
        category_id=np.concatenate([category[near], random.choice(CATEGORIES, num_far)]),
        bbox=np.concatenate([found, far]),
        score=np.concatenate([random.beta(3, 2, len(near)), random.beta(1, 6, num_far)]),
    )


def rows(**columns: np.ndarray) -> list[dict[str, Any]]:
    """As COCO's lists have them."""
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def copied(
    truth: dict[str, Any], detections: list[Detection], weights: np.ndarray
) -> tuple[dict[str, Any], list[Detection]]:
    """The data set in which every image stands as often as its weight says."""
    numbers = [[len(weights) * copy + id for copy in range(n)] for id, n in enumerate(weights)]
    annotations, results = (
        [{**item, "image_id": new} for item in items for new in numbers[item["image_id"]]]
        for items in (truth["annotations"], detections)
    )
    images = [{"id": new} for copies in numbers for new in copies]
    return {**truth, "images": images, "annotations": annotations}, results


def six(numbers: dict[str, float | None]) -> np.ndarray:
    """COCO's first, NaN where undefined."""
    return np.array(list(numbers.values())[:6], dtype=float)


def resample(path: Path, resamples: int) -> dict[str, float]:
    """In a process of its own: what it takes; the draws are kept."""
    matches = load_matches(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, begun_working = time.perf_counter(), time.process_time()
    draws = metrics_of(matches, image_weights(len(matches.image_ids), resamples))
    seconds, working = time.perf_counter() - begun, time.process_time() - begun_working
    np.save(path.with_suffix(".draws.npy"), draws)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = {"MiB": after / 1024, "MiB before": before / 1024}
    return {"seconds": seconds, "CPU seconds": working} | memory


def resampled(path: Path, resamples: int, count: int) -> list[dict[str, float]]:
    """So many at once."""
    with ProcessPoolExecutor(count, get_context("spawn"), max_tasks_per_child=1) as pool:
        return list(pool.map(resample, [path] * count, [resamples] * count))


def measured(num_images: int, resamples: int, num_checked: int, folder: Path) -> dict[str, Any]:
    """Everything, as plain data."""
    from detector.evaluation.detect import measure  # imports torch, which resampling does without

    truth, detections = made_up(num_images)
    begun = time.perf_counter()
    numbers, matches = measure(truth, detections)
    evaluating = time.perf_counter() - begun
    once = metrics_of(matches, np.ones((1, num_images), dtype=np.uint8))[0]
    path = folder / "matches.npz"
    save_matches(matches, path)
    (alone,) = resampled(path, resamples, 1)
    pair = resampled(path, resamples, 2)
    draws = np.load(path.with_suffix(".draws.npy"))
    checks = []
    for number, weights in enumerate(image_weights(num_images, num_checked)):
        data = copied(truth, detections, weights)
        begun = time.perf_counter()
        expected = six(by_pycocotools(*data)[0])
        seconds = time.perf_counter() - begun
        is_equal = np.array_equal(expected, draws[number], equal_nan=True)
        checks.append({"seconds": seconds, "equal": is_equal})
    return {
        "images": num_images,
        "objects": len(truth["annotations"]),
        "detections": len(detections),
        "resamples": resamples,
        "AP": numbers["AP"],
        "evaluating, s": evaluating,
        "equal where every image counts once": np.array_equal(once, six(numbers), equal_nan=True),
        "records, MB": path.stat().st_size / 1e6,
        "one run": alone,
        "two runs at once": pair,
        "resamples evaluated by pycocotools": checks,
    }


def markdown(result: dict[str, Any]) -> str:
    """The page."""
    alone, pair = result["one run"], result["two runs at once"]
    checks = result["resamples evaluated by pycocotools"]
    each = sum(check["seconds"] for check in checks) / len(checks)
    one, both = alone["seconds"], max(item["seconds"] for item in pair)
    ratio = each * result["resamples"] / one
    equal = sum(check["equal"] for check in checks)
    same = "all six" if result["equal where every image counts once"] else "DIFFERENT"
    rows = [
        ("one run", f"{one:.1f} s", f"{alone['CPU seconds']:.1f} s of a core; goal: {GOAL:.0f} s"),
        ("two runs at once, as for a pair", f"{both:.1f} s", ""),
        (
            "evaluating each resample with pycocotools",
            f"{each * result['resamples'] / 3600:.1f} h",
            f"{each:.0f} s each; {ratio:,.0f} times as long",
        ),
        ("memory", f"{alone['MiB'] / 1024:.2f} GiB", "the process in all"),
        ("records of a run on disk", f"{result['records, MB']:.1f} MB", ""),
        ("equal to the last bit: every image once", same, ""),
        ("equal to the last bit: resamples", f"{equal} of {len(checks)}", "images really copied"),
    ]
    return pages.page(
        "bootstrap.py",
        "What resampling costs",
        f"{result['images']:,} images, {CATEGORIES} classes, {result['objects']:,} objects, "
        f"{result['detections']:,} detections, {result['resamples']:,} resamples; "
        f"{result['where']}.",
        pages.table("|:|", rows),
    )


def main() -> None:
    """Measure, print and write the page."""
    given = pages.options(__doc__, images=5000, resamples=1000, checked=2).parse_args()
    with tempfile.TemporaryDirectory(prefix="atss-bootstrap-") as folder:
        result = measured(given.images, given.resamples, given.checked, Path(folder))
    result["where"] = pages.machine()
    pages.write(given.out, "bootstrap", result, markdown(result))


if __name__ == "__main__":
    main()
