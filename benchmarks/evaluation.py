"""How long COCO's evaluation takes: pycocotools, ours, and two compiled libraries, in turns.

    python benchmarks/evaluation.py [--images 5000] [--rounds 3]

Each evaluation is a process of its own, of the same made-up detections: 100 of each image, 80
classes. They take turns, and what is compared are ratios of neighbours. "Reading" is all that is
done with lists of dicts, "records" what is found of every detection, which our statistics need.
faster-coco-eval and hotcoco are no dependencies of ours: what is not installed is not measured.
Writes evaluation.json and evaluation.md.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from bootstrap import CATEGORIES, made_up  # noqa: E402

GOAL = 30  # times as fast as pycocotools
PARTS = ("reading", "matching", "accumulating", "records")
DEMO_TESTS = 12  # of Table 2 at demo scale: 4 runs, 3 times each
Truth = dict[str, Any]
Detections = list[dict[str, Any]]


class Stopwatch:
    """Seconds of every part, by the clock and of the processor."""

    def __init__(self) -> None:
        self.wall = dict.fromkeys(PARTS, 0.0)
        self.cpu = dict.fromkeys(PARTS, 0.0)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[name] += time.perf_counter() - wall
        self.cpu[name] += time.process_time() - cpu

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function; what it takes counts as `name`, and not as matching."""

        def timed(*given: Any) -> Any:
            wall, cpu = self.wall[name], self.cpu[name]
            with self.part(name):
                result = function(*given)
            self.wall["matching"] -= self.wall[name] - wall
            self.cpu["matching"] -= self.cpu[name] - cpu
            return result

        return timed


def by_ours(truth: Truth, detections: Detections, watch: Stopwatch) -> tuple[list[float], Any]:
    """evaluation.detect.measure, its parts told apart. The records are what it works with."""
    from detector.evaluation import detect as evaluation
    from detector.evaluation import matching

    accumulate = evaluation.accumulate
    matching._read = watch.around("reading", matching._read)
    matching._column = watch.around("reading", matching._column)
    evaluation.accumulate = watch.around("accumulating", accumulate)
    with watch.part("matching"):
        numbers, matches = evaluation.measure(truth, detections)
    return list(numbers.values()), matches


def by_pycocotools(
    truth: Truth, detections: Detections, watch: Stopwatch
) -> tuple[list[float], Any]:
    """As its own demonstration has it, and the records read from what it leaves."""
    from by_pycocotools import read_matches
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with watch.part("reading"):
        objects = COCO()
        objects.dataset = truth
        objects.createIndex()
        found = objects.loadRes(detections)
    evaluation = COCOeval(objects, found, "bbox")
    numbers = evaluated(evaluation, watch)
    with watch.part("records"):
        params = evaluation.params
        matches = read_matches(evaluation.evalImgs, params.imgIds, params.catIds)
    return numbers, matches


def by_faster(truth: Truth, detections: Detections, watch: Stopwatch) -> tuple[list[float], None]:
    from faster_coco_eval import COCO, COCOeval_faster

    with watch.part("reading"):
        objects = COCO(truth)
        found = objects.loadRes(detections)
    return evaluated(COCOeval_faster(objects, found, "bbox"), watch), None


def by_hotcoco(truth: Truth, detections: Detections, watch: Stopwatch) -> tuple[list[float], None]:
    from hotcoco import COCO, COCOeval

    with watch.part("reading"):
        objects = COCO(truth)
        found = objects.load_res(detections)
    return evaluated(COCOeval(objects, found, "bbox"), watch), None


def evaluated(evaluation: Any, watch: Stopwatch) -> list[float]:
    """The twelve of an object with pycocotools' interface, in percent."""
    with watch.part("matching"):
        evaluation.evaluate()
    with watch.part("accumulating"):
        evaluation.accumulate()
        evaluation.summarize()
    return [100 * float(value) for value in evaluation.stats]


BACKENDS = {
    "pycocotools": by_pycocotools,
    "ours": by_ours,
    "faster-coco-eval": by_faster,
    "hotcoco": by_hotcoco,
}


# In a process of its own: what is measured


def demo() -> tuple[Truth, Detections]:
    """The demo's validation images, and as many detections of each as count."""
    import numpy as np

    from detector.data.coco import open_split

    truth = open_split("shapes", "val")[1].ground_truth
    random = np.random.default_rng(0)
    ids = [item["id"] for item in truth["categories"]]
    found = [
        {
            "image_id": item["image_id"],
            "category_id": item["category_id"],
            "bbox": (np.array(item["bbox"]) * np.exp(random.normal(0, 0.1, 4))).tolist(),
            "score": float(random.random()),
        }
        for item in truth["annotations"]
    ]
    for image in truth["images"]:
        for _ in range(97):
            place, side = random.uniform(0, 100, 2), random.uniform(5, 60, 2)
            where = {"image_id": image["id"], "category_id": int(random.choice(ids))}
            score = float(random.random() / 2)
            found.append({**where, "bbox": [*place.tolist(), *side.tolist()], "score": score})
    return truth, found


def measured(backend: str, num_images: int) -> dict[str, Any]:
    """One evaluation; without images, of the demo. Truths have ids from 1, as COCO's."""
    truth, detections = made_up(num_images) if num_images else demo()
    for number, item in enumerate(truth["annotations"], start=1):
        item["id"] = number
    watch = Stopwatch()
    with contextlib.redirect_stdout(io.StringIO()):  # what is imported is neither timed nor counted
        BACKENDS[backend](*small(), Stopwatch())
    before = forget_peak()
    with contextlib.redirect_stdout(io.StringIO()):
        numbers, matches = BACKENDS[backend](truth, detections, watch)
    return {
        "seconds": watch.wall,
        "CPU seconds": watch.cpu,
        "MiB": memory("VmHWM") - before,
        "numbers": [None if value is None or value < 0 else value for value in numbers],
        "records": matches and digest(matches),
        "objects": len(truth["annotations"]),
        "detections": len(detections),
    }


def forget_peak() -> float:
    """MiB that this process has now; its peak is this."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(name: str) -> float:
    """In MiB, as Linux counts it: VmRSS is now, VmHWM the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def small() -> tuple[Truth, Detections]:
    where = {"image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 9.0, 9.0]}
    annotations = [{"id": 1, "area": 81.0, "iscrowd": 0, **where}]
    images, categories = [{"id": 1, "width": 9, "height": 9}], [{"id": 1, "name": "1"}]
    truth = {"images": images, "categories": categories, "annotations": annotations}
    return truth, [{**where, "score": 0.5}]


def digest(matches: Any) -> str:
    """Of all records, their types and shapes."""
    result = hashlib.sha256()
    for item in fields(matches):
        values = getattr(matches, item.name)
        result.update(f"{item.name} {values.dtype} {values.shape}".encode())
        result.update(values.tobytes())
    return result.hexdigest()


# All of them, in turns


def installed() -> dict[str, str]:
    """The backends that can be measured here, and their versions."""
    found = {}
    for name in BACKENDS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = "" if name == "ours" else version(name)
    return found


def alone(backend: str, num_images: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--alone", backend, "--images", str(num_images)]
    settings = {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | settings)
    return json.loads(found.stdout.splitlines()[-1])


def in_turns(num_images: int, rounds: int) -> dict[str, list[dict[str, Any]]]:
    names = installed()
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            taken[name].append(alone(name, num_images))
            seconds = sum(taken[name][-1]["seconds"].values())
            print(f"round {number + 1}, {name}: {seconds:.2f} s", file=sys.stderr)
    return taken


def compared(taken: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Of every backend: medians, its ratio to pycocotools, and whether it has the same numbers."""
    reference = taken["pycocotools"]
    expected, records = reference[0]["numbers"], reference[0]["records"]
    return {
        name: {
            "seconds": {part: median(item["seconds"][part] for item in mine) for part in PARTS},
            "seconds in all": median(total(item, "seconds") for item in mine),
            "CPU seconds in all": median(total(item, "CPU seconds") for item in mine),
            "times as fast": ratios(reference, mine, "seconds"),
            "times as fast by CPU seconds": ratios(reference, mine, "CPU seconds"),
            "MiB": max(item["MiB"] for item in mine),
            "largest difference": max(difference(item["numbers"], expected) for item in mine),
            "same records": mine[0]["records"] and all(x["records"] == records for x in mine),
        }
        for name, mine in taken.items()
    }


median: Callable[[Any], float] = statistics.median


def difference(numbers: Any, expected: Any) -> float:
    """Of the twelve, in percentage points; infinite if only one has a number there."""
    pairs = [pair for pair in zip(numbers, expected, strict=True) if pair != (None, None)]
    return max(float("inf") if None in pair else abs(pair[0] - pair[1]) for pair in pairs)


def total(item: dict[str, Any], kind: str) -> float:
    return sum(item[kind].values())


def ratios(reference: Any, mine: Any, kind: str) -> dict[str, Any]:
    every = [total(a, kind) / total(b, kind) for a, b in zip(reference, mine, strict=True)]
    return {"median": median(every), "all": every}


def table(found: dict[str, Any], versions: dict[str, str]) -> list[str]:
    lines = [
        "| | reading | matching | accumulating | records | all | CPU | times as fast | memory | "
        "numbers | records |",
        "|-|-:|-:|-:|-:|-:|-:|-:|-:|-|-|",
    ]
    records = {None: "has none", True: "equal", False: "DIFFERENT"}
    for name, values in found.items():
        ratio, apart = values["times as fast"], values["largest difference"]
        cells = [
            f"{name} {versions[name]}".strip(),
            *(f"{seconds:.2f} s" for seconds in values["seconds"].values()),
            f"{values['seconds in all']:.2f} s",
            f"{values['CPU seconds in all']:.2f} s",
            f"{ratio['median']:.1f} ({min(ratio['all']):.1f} to {max(ratio['all']):.1f})",
            f"{values['MiB'] / 1024:.2f} GiB",
            f"within {apart:.0e}" if apart else "equal",
            records[values["same records"]],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    missing = [name for name in BACKENDS if name not in found]
    return lines + [f"| {name} | not measured: not installed |" for name in missing]


TRIED = """\
Tried, and left:

- hotcoco, the fastest where only the twelve numbers are asked for: what it found of every detection
  comes as a list of dicts (`eval_imgs`), which took 41 s of a core and 8 GiB for these 5,000
  images. Our statistics need it, so there is no second way of evaluating to keep in step.
- faster-coco-eval: says which detections matched in one setting, not in 4 areas x 10 IoUs.
- Overlaps of all pairs at once, by our own arithmetic: saves at most 0.1 s. Those of pycocotools,
  called for each image and class that has both, are its own on every machine.
"""


def markdown(result: dict[str, Any]) -> str:
    """The page."""
    size = result["size"]
    before, now = (
        DEMO_TESTS * result["demo"][name]["CPU seconds in all"] for name in ("pycocotools", "ours")
    )
    by_cpu = result["full"]["ours"]["times as fast by CPU seconds"]["median"]
    lines = [
        "# What COCO's evaluation takes",
        "",
        f"{result['images']:,} images, {CATEGORIES} classes, {size['objects']:,} objects, "
        f"{size['detections']:,} detections; {result['where']}.",
        "",
        *table(result["full"], result["versions"]),
        "",
        "Times as fast as pycocotools, by the clock, the records of every detection included where "
        f"there are any; goal: {GOAL}.",
        f"By seconds of the processor, which other programs hardly change, ours is {by_cpu:.0f} "
        "times as fast.",
        "Memory is what an evaluation adds, at its peak, to the lists of dicts that it is given.",
        "Numbers: COCO's twelve, in percentage points; equal is to the last bit, in this run and "
        "in tests/test_matching.py.",
        "",
        f"The demo, `atss reproduce table2`, tests {DEMO_TESTS} times on 300 images, with up to "
        f"100 detections each: {before:.1f} s of a core",
        f"by pycocotools, {now:.1f} s by ours.",
        "",
        TRIED,
        "`python benchmarks/evaluation.py`",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Take turns, print and write the page; or, started by itself, be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", choices=BACKENDS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(measured(given.alone, given.images)))
        return
    taken, in_demo = in_turns(given.images, given.rounds), in_turns(0, given.rounds)
    first = taken["ours"][0]
    result = {
        "images": given.images,
        "size": {name: first[name] for name in ("objects", "detections")},
        "where": f"{given.rounds} rounds in turns, {len(os.sched_getaffinity(0))} cores (load "
        f"{os.getloadavg()[1]:.0f}), {platform.machine()}, Python {platform.python_version()}, "
        f"numpy {version('numpy')}",
        "versions": installed(),
        "full": compared(taken),
        "demo": compared(in_demo),
    }
    page = markdown(result)
    (given.out / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n")
    (given.out / "evaluation.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
