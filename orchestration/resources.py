"""How machines are divided among runs: what one run gets, and how many fit at once.

A run takes one process, or several that share each batch, each with its CPUs and its GPU or a share
of one. All of a run's processes are reserved together, so no run can wait for its second half.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.views import count

MAX_WORKERS = 8  # that load images for one process, unless the user asks for more


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
class Share:
    """What every process of a run gets, how many processes a run has, and how many runs fit."""

    cpus: int
    gpus: float
    workers: int
    processes: int
    at_once: int
    is_on_one_node: bool = True  # whether all processes of a run are on one machine

    def __str__(self) -> str:
        gpus = f"{self.gpus:g} GPU and " if self.gpus else ""
        processes = f"{self.processes} processes with " if self.processes > 1 else ""
        return f"{processes}{gpus}{self.cpus} CPU for each"


def share_out(
    nodes: Sequence[Mapping[str, float]], resources: Resources, *, threads: int, batch_size: int
) -> Share:
    """Divide nodes, each {"CPU": ..., "GPU": ...}, among runs of so many threads per process.

    By default a run has one GPU, or none where there are none. Runs stay on one node where any node
    holds a whole one, and span nodes else. Raises ValueError, with the numbers, for what could
    never be scheduled: it would wait for ever.
    """
    gpus, processes = _per_process(nodes, resources)
    if processes > batch_size:
        raise ValueError(
            f"{count(processes, 'process')} per run need at least as many images per step, "
            f"got batch_size={batch_size}: each takes its share of the batch"
        )
    workers = resources.workers
    if workers is None:
        workers = _default_workers(nodes, threads, gpus)
    cpus = threads + workers
    fits = [_fit(node, cpus, gpus) for node in nodes]
    is_on_one_node = any(fit >= processes for fit in fits)
    at_once = sum(fit // processes for fit in fits) if is_on_one_node else sum(fits) // processes
    if at_once == 0:
        offers = ", ".join(f"{n.get('CPU', 0):g} CPU and {n.get('GPU', 0):g} GPU" for n in nodes)
        raise ValueError(
            f"every run needs {count(processes, 'process')} of {cpus} CPU "
            f"({count(threads, 'thread')}, {count(workers, 'worker')}) and {gpus:g} GPU, each on "
            f"one machine, but there is: {offers or 'no machine'}; ask for less with "
            "--gpus-per-run, --processes or --workers"
        )
    return Share(cpus, gpus, workers, processes, at_once, is_on_one_node)


def _per_process(nodes: Sequence[Mapping[str, float]], resources: Resources) -> tuple[float, int]:
    """GPUs of a process, and processes of a run."""
    gpus, processes = resources.gpus_per_run, resources.processes
    if gpus is None:
        has_gpu = any(node.get("GPU", 0) >= 1 for node in nodes)
        gpus = float(processes or 1) if has_gpu else 0.0
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"--gpus-per-run needs a whole number, a share of 1, or 0, got {gpus:g}")
    if processes is None:
        processes = max(1, int(gpus))
    if gpus and gpus != processes and (processes > 1 or gpus > 1):
        raise ValueError(
            f"--processes needs one per GPU, got {processes} for {gpus:g}: a process uses one GPU"
        )
    return (min(gpus, 1.0), processes)


def _fit(node: Mapping[str, float], cpus: int, gpus: float) -> int:
    """How many processes a node takes at once."""
    by_gpu = node.get("GPU", 0) / gpus + 1e-6 if gpus else float("inf")
    return int(min(node.get("CPU", 0) / cpus, by_gpu))


def _default_workers(nodes: Sequence[Mapping[str, float]], threads: int, gpus: float) -> int:
    """A GPU waits for images, so the CPUs beside it load them; a CPU run loads its own."""
    if not gpus:
        return 0
    spare = [node["CPU"] * gpus / node["GPU"] - threads for node in nodes if node.get("GPU")]
    return int(min(MAX_WORKERS, max(0.0, min(spare, default=0.0))))
