"""One thread per test process, the same scenes on every run, and no GPU test without a GPU.

HYPOTHESIS_PROFILE=thorough draws thousands of fresh scenes instead of the fixed ones, unshrunk
leaves a failure as it was found.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: its sums depend on it

import pytest
from hypothesis import HealthCheck, Phase, settings

# A shell that runs tests in the background ignores Ctrl-C, and so would what tests start and end.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]

settings.register_profile(
    "default",
    max_examples=120,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "thorough", settings.get_profile("default"), max_examples=3000, derandomize=False
)
unshrunk = [Phase.explicit, Phase.generate]
settings.register_profile("unshrunk", settings.get_profile("default"), phases=unshrunk)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a CUDA device where there is none; torch is imported only to find out."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device, this machine has none")


@pytest.fixture(autouse=True)
def _random_numbers_start_anew() -> None:
    """Every test draws torch's random numbers from the same start, whatever ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set that nobody changes."""
    from test_trial import write_small_data

    return write_small_data(tmp_path_factory.mktemp("data") / "squares")


@dataclass
class Machine:
    """A process with a session of its own, and what it said."""

    process: subprocess.Popen[bytes]
    output: Path
    errors: Path

    def said(self) -> str:
        return self.output.read_text() + self.errors.read_text()

    def is_lost(self) -> None:
        """Everything in its session dies at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


Start = Callable[..., Machine]
Atss = Callable[..., tuple[int, str, str]]  # exit code, output, errors
Refused = Callable[..., str]  # the line that says why


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a Python module as another machine would; at the end all of them are ended."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    settings |= {
        "PYTHONPATH": f"{ROOT}:{ROOT}/tests",
        "COLUMNS": "200",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    settings |= {"MLFLOW_TRACKING_URI": ""}  # records are beside the results
    started: list[Machine] = []

    def run(*command: object, **variables: str) -> Machine:
        output, errors = (tmp_path / f"{len(started)}.{name}" for name in ("out", "err"))
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, command)],
            cwd=tmp_path,
            env={**os.environ, **settings, **token, **variables},
            stdout=output.open("wb"),
            stderr=errors.open("wb"),
            start_new_session=True,
        )
        started.append(Machine(process, output, errors))
        return started[-1]

    yield run
    for machine in reversed(started):
        machine.is_lost()


def wait_for(happened: Callable[[], Any], seconds: float, machine: Machine | None = None) -> Any:
    """What happened; machine: whose end would be too early."""
    limit = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < limit, machine and machine.said()
        assert machine is None or machine.process.poll() is None, machine.said()
        time.sleep(0.05)
    return found


def launch_line(*words: object, data: Path, out: Path, settings: Sequence[str]) -> list[object]:
    """`atss reproduce` on small images, for `start`."""
    settings = [*settings, "batch_size=2", "warmup_iterations=1", "short_side=64,64"]
    changes = [part for setting in settings for part in ("--set", setting)]
    return ["orchestration.cli", "reproduce", *words, "--data", data, "--out", out, *changes]


@pytest.fixture
def atss(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Atss]:
    """Run the command in this process."""
    from orchestration import cli, terminal

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["atss", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        output = capsys.readouterr()
        return int(end.value.code or 0), output.out, output.err

    monkeypatch.setattr(terminal.console, "_width", 160)
    before, folder = signal.getsignal(signal.SIGTERM), os.getcwd()
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    yield run
    signal.signal(signal.SIGTERM, before)
    os.chdir(folder)
    if torch:
        torch.set_num_threads(threads)


@pytest.fixture
def refused(atss: Atss) -> Refused:
    """Run a command that has to be refused before it prints anything."""

    def run(*arguments: object) -> str:
        code, output, errors = atss(*arguments)
        assert (code, output) == (2, "") and re.fullmatch(r"atss: [^\n]+\n", errors), errors
        return errors

    return run


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the notebooks that would have been run; their pages are there, but empty."""
    from orchestration import results
    from reports import notebook
    from reports.render import part
    from reports.results import save_bundle

    names: list[str] = []

    def report(bundle: Any, folder: Path, progress: Callable[[str], None]) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        for ending in results.ENDINGS:
            page = part("page", bundle.table.name, "<h1>a table</h1>")
            content = page if ending == ".html" else ""
            (folder / f"{bundle.table.name}{ending}").write_text(content)
        save_bundle(bundle, folder / f"{bundle.table.name}.json")
        names.append(bundle.table.name)
        return []

    monkeypatch.setattr(notebook, "write_report", report)
    monkeypatch.setattr(results, "record", lambda *arguments: None)
    return names
