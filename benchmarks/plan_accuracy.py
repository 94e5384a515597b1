"""How far `atss plan` is off: its wall time for a table beside the time the table then takes.

    python benchmarks/plan_accuracy.py [--table table2] [--set iterations=1100]

Plans and trains in a fresh folder, through the commands a user gives, then plans the next table
from what has finished. Writes plan_accuracy.json and plan_accuracy.md.
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
    environment = os.environ | {"COLUMNS": "200", "PYTHONPATH": str(HERE.parent)}
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
    found = re.search(r"at once: ([\d:]+) in all", output)
    assert found, output
    return seconds(found[1])


def trained(output: str) -> int:
    """Of a launch, from its first to its last line of progress."""
    clocks = re.findall(r"^ +([\d:]+)  ", output, re.MULTILINE)
    return seconds(clocks[-1])


def main() -> None:
    """Plan, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", default="table2")
    parser.add_argument("--next", default="table3", help="planned from what has finished")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    given = parser.parse_args()
    options = [word for setting in given.settings for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as out:
        common = [*options, "--out", out]
        first, measuring = atss("plan", given.table, *common)
        took = trained(atss("reproduce", given.table, *common)[0])
        second, looking = atss("plan", given.next, *common)
        took_next = trained(atss("reproduce", given.next, *common)[0])
    rows = [
        (given.table, "a measurement", measuring, planned(first), took),
        (given.next, "finished runs", looking, planned(second), took_next),
    ]
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
