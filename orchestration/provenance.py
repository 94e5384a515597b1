"""Where a run is trained, and by what code: versions and devices, kept with its numbers."""

import platform
import subprocess
from pathlib import Path

PACKAGES = ("torch", "torchvision", "ray", "mlflow", "pycocotools")


def environment(device: str) -> dict[str, str]:
    """Where a run is trained: versions and devices."""
    import torch

    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "cuda": str(torch.version.cuda) if device == "cuda" else "none",
        "gpu": torch.cuda.get_device_name() if device == "cuda" else "none",
        "cpu": _cpu_model(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def code_version() -> dict[str, str]:
    """The package's version, and the commit where the code lies in a git checkout."""
    commit, _, dirty = _described().partition("-")
    state = ("modified" if dirty else "clean") if commit else "unknown"
    return {"version": _version("atss-suite"), "commit": commit or "unknown", "tree": state}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # with the parsers of e-mail

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


def _described() -> str:
    """The commit of this code, "-dirty" behind it if changed; empty outside of a git checkout."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    describe = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run([*describe, "--dirty"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()
