"""Where a run is trained: versions and devices, kept with its numbers."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def environment(device: str) -> dict[str, str]:
    """Where a run is trained: versions and devices."""
    packages = ("torch", "torchvision", "ray", "mlflow", "pycocotools")
    gpu = torch.cuda.get_device_name() if device == "cuda" else "none"
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "cuda": str(torch.version.cuda) if device == "cuda" else "none",
        "gpu": gpu,
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _cpu_model() -> str:
    """The processor's name; "unknown" where the system does not tell."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
