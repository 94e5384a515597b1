"""Where a run is trained, and by what code: versions and devices, kept with its numbers."""

import platform
import re
import subprocess
from contextlib import suppress
from pathlib import Path

PACKAGES = ("torch", "torchvision", "ray", "mlflow", "pycocotools")
DESCRIBE = ("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def environment(device: str) -> dict[str, str]:
    """Where a run is trained: versions and devices."""
    import torch

    told = Path("/proc/cpuinfo")  # not on every system
    model = re.search(r"model name\s*: *(.*\S)", told.read_text() if told.exists() else "")
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "cuda": str(torch.version.cuda) if device == "cuda" else "none",
        "gpu": torch.cuda.get_device_name() if device == "cuda" else "none",
        "cpu": model[1] if model else platform.processor() or "unknown",
        "system": f"{platform.system()} {platform.machine()}",
    }


def code_version() -> dict[str, str]:
    """The package's version, and the commit where the code lies in a git checkout."""
    root, answer = Path(__file__).parents[1], ""
    if (root / ".git").exists():
        command = ["git", "-C", str(root), *DESCRIBE]
        with suppress(OSError, subprocess.TimeoutExpired):
            answer = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    commit, _, dirty = answer.strip().partition("-")
    state = ("modified" if dirty else "clean") if commit else "unknown"
    return {"version": _version("atss-suite"), "commit": commit or "unknown", "tree": state}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # with the parsers of e-mail

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
