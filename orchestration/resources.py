"""What a run takes: its share of the machines, and its time.

A run takes one process, or several that share each batch, each with its CPUs and its GPU or a share
of one; all of them on one machine.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detector.config import Recipe
from orchestration.progress import count

RAY_FOLDER = ".ray-"  # how the folder for Ray's own files begins, while a launch goes on
ANSWER_SECONDS = 10.0
MAX_WORKERS = 8  # that load images for one process, unless the user asks for more
TRAINING_COST = 3  # of an image, in forward passes: a guess until a test has been timed


@dataclass(frozen=True)
class Resources:
    """What a user asks of the machines; None leaves it to what is there."""

    address: str | None = None  # of a running Ray cluster; None starts one on this machine
    concurrent: int | None = None  # runs at once
    gpus_per_run: float | None = None
    processes: int | None = None  # that share each batch of a run
    micro_batch_size: int | None = None
    workers: int | None = None


@dataclass(frozen=True)
class Allocation:
    """What every process of a run gets, how many processes a run has, and how many runs fit."""

    cpus: int
    gpus: float
    workers: int
    processes: int
    at_once: int

    def __str__(self) -> str:
        gpus = f"{self.gpus:g} GPU and " if self.gpus else ""
        processes = f"{self.processes} processes with " if self.processes > 1 else ""
        return f"{processes}{gpus}{self.cpus} CPU for each"


def allocate(
    nodes: Sequence[Mapping[str, float]], resources: Resources, recipe: Recipe
) -> Allocation:
    """Divide nodes, each {"CPU": ..., "GPU": ...}, among runs of a recipe.

    By default a run has one GPU, or none where there are none. Raises ValueError, with the numbers,
    for what could never be scheduled: it would wait for ever.
    """
    gpus, processes = resources.gpus_per_run, resources.processes
    if gpus is None:
        gpus = any(node.get("GPU", 0) >= 1 for node in nodes) * float(processes or 1)
    processes = processes or max(1, int(gpus))
    if gpus and gpus != processes and max(gpus, processes) > 1:
        raise ValueError(
            f"a process uses one GPU, or a share of one: --gpus-per-run {gpus:g} does not go with "
            f"{count(processes, 'process')}"
        )
    gpus = min(gpus, 1.0)  # of each process
    if processes > recipe.batch_size:
        raise ValueError(
            f"{count(processes, 'process')} per run need at least as many images per step, "
            f"got batch_size={recipe.batch_size}: each takes its share of the batch"
        )
    if (workers := resources.workers) is None:  # a GPU waits for images: the CPUs beside load them
        beside = [node["CPU"] * gpus / node["GPU"] for node in nodes if gpus and node.get("GPU")]
        workers = int(min(MAX_WORKERS, max(0.0, min(beside, default=0.0) - recipe.threads)))
    cpus = recipe.threads + workers
    at_once = 0
    for node in nodes:
        by_gpu = node.get("GPU", 0) / (gpus * processes) + 1e-6 if gpus else float("inf")
        at_once += int(min(node.get("CPU", 0) / (cpus * processes), by_gpu))
    if at_once == 0:
        offers = ", ".join(f"{n.get('CPU', 0):g} CPU and {n.get('GPU', 0):g} GPU" for n in nodes)
        raise ValueError(
            f"every run needs {count(processes, 'process')} of {cpus} CPU "
            f"({count(recipe.threads, 'thread')}, {count(workers, 'worker')}) and {gpus:g} GPU, "
            f"all on one machine, but there is: {offers or 'no machine'}; ask for less with "
            "--gpus-per-run, --processes or --workers"
        )
    return Allocation(cpus, gpus, workers, processes, min(at_once, resources.concurrent or at_once))


def require_answer(address: str) -> None:
    """ValueError if nothing listens at host:port: Ray itself would wait for ten minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise ValueError(
            f"--address needs auto or the HOST:PORT of a Ray head, got '{address}', where none "
            f"answers ({error})"
        ) from error


def evaluation_steps(recipe: Recipe, num_images: int) -> set[int]:
    """After which steps AP is measured: evenly, and always after the last one.

    No oftener than the num_images to test on are matched by as many trained: in a run cut short,
    testing would take longer than training.
    """
    affordable = recipe.iterations * recipe.batch_size // max(num_images, 1)
    times = max(1, min(recipe.evaluations, recipe.iterations, affordable))
    return {round(recipe.iterations * part / times) for part in range(1, times + 1)}


@dataclass
class Spent:
    """Wall time in seconds, and what was done in it; "spent" of result.json."""

    training: float = 0.0
    steps: int = 0
    testing: float = 0.0
    images: int = 0

    def seconds_for(self, steps: int, images: float, recipe: Recipe) -> float:
        """Of so many training steps and images to test, at this pace.

        Before the first test, the time of an image is a guess by what it takes in training.
        """
        step = self.training / max(1, self.steps)
        guess = step / recipe.batch_size / TRAINING_COST
        return step * steps + (self.testing / self.images if self.images else guess) * images
