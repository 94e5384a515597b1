"""How far `atss plan` is off: its wall time for a table beside the time the table then takes.

    python benchmarks/plan_accuracy.py [--tables table2 table3] [--set iterations=1100]

Plans and trains in a fresh folder, through the commands a user gives: the first table by a
measurement, the next ones by what has finished. Writes plan_accuracy.json and plan_accuracy.md.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def atss(*words: str) -> tuple[str, float]:
    """What the command printed, and the seconds it took."""
    begun = time.monotonic()
    environment = os.environ | {"COLUMNS": "80", "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *words],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"atss {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done.stdout, time.monotonic() - begun


def seconds(clock: str) -> int:
    """ "1:02:03" -> 3723."""
    total = 0
    for part in clock.split(":"):
        total = 60 * total + int(part)
    return total


def planned(output: str) -> int:
    """The wall time that a plan states."""
    found = re.search(r"at once: ([\d:]+) in all", " ".join(output.split()))
    assert found, output
    return seconds(found[1])


def trained(output: str) -> int:
    """Of a launch, from its first to its last line of progress."""
    clocks = re.findall(r"^ +([\d:]+)  ", output, re.MULTILINE)
    return seconds(clocks[-1])


def main() -> None:
    """Plan, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=["table2", "table3"])
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--log", type=Path, help="where what the launches print is kept")
    given = parser.parse_args()
    options = [word for setting in given.settings for word in ("--set", setting)]
    rows, log = [], ""
    with tempfile.TemporaryDirectory() as out:
        for table in given.tables:
            plan, planning = atss("plan", table, *options, "--out", out)
            launch, _ = atss("reproduce", table, *options, "--out", out)
            source = "finished runs" if rows else "a measurement"
            rows.append((table, source, planning, planned(plan), trained(launch)))
            log += f"{plan}\n{launch}\n"
    if given.log:
        given.log.write_text(log)
    lines = [
        "# How far `atss plan` is off",
        "",
        "| table | by | planning took, s | planned, s | took, s | error |",
        "|-|-|-:|-:|-:|-:|",
        *(
            f"| {table} | {source} | {plan:.0f} | {wall} | {real} | {wall / real - 1:+.0%} |"
            for table, source, plan, wall, real in rows
        ),
        "",
        f"{os.cpu_count()} CPUs. `python benchmarks/plan_accuracy.py`",
        "",
    ]
    names = ("table", "by", "planning", "planned", "took")
    content = [dict(zip(names, row, strict=True)) for row in rows]
    (HERE / "plan_accuracy.json").write_text(json.dumps(content, indent=1))
    (HERE / "plan_accuracy.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
