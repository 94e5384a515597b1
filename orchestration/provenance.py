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
    commit = _git("rev-parse", "HEAD")
    is_modified = bool(_git("status", "--porcelain", "--untracked-files=no"))
    state = ("modified" if is_modified else "clean") if commit else "unknown"
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


def _git(*arguments: str) -> str:
    """What git says of this code; empty where there is no git, or the code is not in a checkout."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
