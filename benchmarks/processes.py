"""What the processes of a launch spend, by kind, as /proc tells."""

import os
from collections import defaultdict
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


class Processes:
    """All processes that a command starts, known by a word in their environment or their parent."""

    def __init__(self, word: str) -> None:
        self.word = word.encode()
        self.kinds: dict[int, str] = {}
        self.seconds: dict[int, float] = {}

    def look(self) -> None:
        """Note what each has spent until now."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                number, parent = int(path.name), int(fields[1])
                is_known = number in self.kinds or parent in self.kinds
                if not is_known and self.word not in (path / "environ").read_bytes():
                    continue
                line = (path / "cmdline").read_bytes().decode()
                if line or number not in self.kinds:  # one that has just ended has none
                    self.kinds[number] = _kind(line, self.kinds.get(number, ""))
                self.seconds[number] = (int(fields[11]) + int(fields[12])) / TICK
            except (OSError, IndexError):  # it has ended meanwhile
                continue

    def by_kind(self) -> dict[str, float]:
        """CPU seconds of each kind of process."""
        total: dict[str, float] = defaultdict(float)
        for number, kind in self.kinds.items():
            total[kind] += self.seconds[number]
        return dict(total)


def _kind(line: str, before: str) -> str:
    if "ipykernel" in line:
        return "the report's notebook"
    if "ray::" in line and "IDLE" not in line or before == "trials":
        return "trials"
    return "the command itself" if "orchestration.cli" in line else "Ray's own"
