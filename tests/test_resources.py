"""Machines are shared out among runs; what could never be scheduled is refused with numbers."""

from dataclasses import astuple, replace

import pytest

from experiments.schedules import DEMO
from orchestration.resources import Resources, allocate

CPU_NODE = {"CPU": 4.0, "memory": 1.0}
GPU_NODE = {"CPU": 16.0, "GPU": 2.0}
BIG_NODE = {"CPU": 64.0, "GPU": 8.0}


@pytest.mark.parametrize(
    ("nodes", "threads", "asked", "expected"),
    [  # CPUs, GPUs and workers of each process, processes of each run, runs at once
        ([CPU_NODE], 1, {}, (1, 0.0, 0, 1, 4)),
        ([CPU_NODE], 3, {}, (3, 0.0, 0, 1, 1)),
        ([CPU_NODE], 1, {"workers": 1}, (2, 0.0, 1, 1, 2)),
        ([CPU_NODE], 1, {"processes": 2}, (1, 0.0, 0, 2, 2)),
        ([GPU_NODE], 2, {}, (8, 1.0, 6, 1, 2)),
        ([GPU_NODE, GPU_NODE, CPU_NODE], 2, {}, (8, 1.0, 6, 1, 4)),
        ([GPU_NODE], 2, {"gpus_per_run": 0.5, "workers": 1}, (3, 0.5, 1, 1, 4)),
        ([{"CPU": 16.0, "GPU": 0.3}], 1, {"gpus_per_run": 0.1, "workers": 0}, (1, 0.1, 0, 1, 3)),
        ([GPU_NODE], 2, {"gpus_per_run": 0.0}, (2, 0.0, 0, 1, 8)),
        ([{"CPU": 64.0, "GPU": 1.0}], 2, {}, (10, 1.0, 8, 1, 1)),
        ([GPU_NODE], 2, {"gpus_per_run": 2}, (8, 1.0, 6, 2, 1)),
        ([GPU_NODE], 2, {"processes": 2}, (8, 1.0, 6, 2, 1)),
        ([GPU_NODE], 2, {"gpus_per_run": 0, "processes": 4}, (2, 0.0, 0, 4, 2)),
        ([CPU_NODE], 1, {"concurrent": 3}, (1, 0.0, 0, 1, 3)),
        ([GPU_NODE, BIG_NODE], 1, {"gpus_per_run": 4}, (8, 1.0, 7, 4, 2)),
        # what can never be
        ([CPU_NODE], 1, {"gpus_per_run": 1}, "1 CPU .* and 1 GPU.* is: 4 CPU and 0 GPU"),
        ([CPU_NODE] * 2, 5, {}, "needs 1 process of 5 CPU .* 4 CPU and 0 GPU, 4 CPU"),
        ([], 1, {}, "no machine"),
        ([GPU_NODE] * 2, 1, {"gpus_per_run": 4}, "4 processes .* on one machine, .* 2 GPU"),
        ([CPU_NODE], 1, {"processes": 5}, "needs 5 processes of 1 CPU"),
        ([BIG_NODE] * 3, 1, {"processes": 20}, "20 processes .* batch_size=16"),
        ([GPU_NODE], 1, {"gpus_per_run": 1.5}, "one GPU, or a share of one: --gpus-per-run 1.5"),
        ([GPU_NODE], 1, {"gpus_per_run": 2, "processes": 4}, "-run 2 does not go with 4 processes"),
        ([GPU_NODE], 1, {"gpus_per_run": 0.5, "processes": 2}, "-run 0.5 does not go with 2 proc"),
    ],
)
def test_machines_are_shared_out_or_refused_with_the_numbers(nodes, threads, asked, expected):
    recipe = replace(DEMO, threads=threads, batch_size=16)
    if isinstance(expected, tuple):
        assert astuple(allocate(nodes, Resources(**asked), recipe)) == expected
    else:
        with pytest.raises(ValueError, match=expected):
            allocate(nodes, Resources(**asked), recipe)
