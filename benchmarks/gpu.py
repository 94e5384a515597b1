"""Everything that needs a GPU, in one call on a bare host: each part with a time limit of its own.

    python benchmarks/gpu.py --out FOLDER [--only NAME ...]

Needs PyTorch, torchvision and pycocotools, neither Ray nor MLflow. A part that fails or is cut off
costs no other part; what each printed lies in FOLDER/<part>.txt, its numbers and page beside it.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pages

ROOT = pages.HERE.parent
PARTS: dict[str, tuple[list[str], float]] = {  # name -> script and arguments, seconds
    "tests": (["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu"], 90),
    "runs_at_once": (["runs_at_once.py"], 110),
    "made_up": (["train_loop.py", "--made-up", "--theirs", "--profile", "--steps", "20"], 240),
    "train_loop": (["train_loop.py", "--steps", "40"], 180),
    "assignment": (["assignment.py", "--device", "cuda"], 60),
    "inference": (["inference.py", "--device", "cuda", "--bf16"], 60),
}


def arguments_of(name: str, out: Path) -> list[str]:
    """The whole command of a part."""
    script, _ = PARTS[name]
    if name == "tests":
        marked = [
            str(p) for p in sorted(ROOT.glob("tests/test_*.py")) if "mark.gpu" in p.read_text()
        ]
        return [sys.executable, *script, *marked]
    folder = out / name
    folder.mkdir(exist_ok=True)
    return [sys.executable, str(pages.HERE / script[0]), *script[1:], "--out", str(folder)]


def main() -> None:
    """Run the parts one after the other."""
    given = pages.options(__doc__, out=pages.HERE / "gpu", only=list(PARTS)).parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    for name in given.only:
        begun, seconds = time.monotonic(), PARTS[name][1]
        # The program: it ends what a part has started as well.
        limited = ["timeout", str(seconds), *arguments_of(name, given.out)]
        with (given.out / f"{name}.txt").open("w") as output:
            done = subprocess.run(
                limited, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=environment
            )
        known = {0: "done", 124: f"cut off after {seconds:.0f} s"}
        end = known.get(done.returncode, f"failed ({done.returncode})")
        print(f"{name}: {end}, {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
