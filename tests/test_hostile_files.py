"""Files that nobody vouches for: each of many broken ones is read, or refused in one clear line.

The generator is seeded; a case is named by its number. What is allowed: a result, or a ValueError
or OSError of one line that names the file. Not allowed: any other exception, silence about a
changed archive, more than SECONDS for a file, or more than GIGABYTES.
"""

import copy
import json
import random
import re
import time
from functools import partial
from pathlib import Path

import pytest
from made_up_coco import content
from PIL import Image
from test_archive import export, read, reseal, write
from test_weights import save_own

from detector.data.coco import CocoDataset
from detector.data.images import FORMATS, read_pixels
from detector.weights.load import load_detector
from orchestration.archive import verify
from reports import coco_bootstrap
from reports.archive import MANIFEST

pytestmark = pytest.mark.slow

SECONDS, GIGABYTES = 20.0, 2.0
PEAK = Path("/proc/self/clear_refs")
VALUES = (
    *(None, True, -1, 0, 3, 2**31, 2**63, 10**400, 1.5, 1e308, float("nan"), float("inf")),
    *("", "x", "../../etc/passwd", "\x1b]0;t\x07", "\ud800", [], [1], {}, {"id": 1}),
    *([[[]]], ["a", "b"], [1, 2, 3, 4], [float("nan")] * 4),
)


def spoil(described, draw):
    """A copy in which some value, at any depth, is replaced, dropped or doubled."""
    whole = inner = copy.deepcopy(described)
    while True:
        key = draw.choice([*inner] if isinstance(inner, dict) else range(len(inner)))
        if not inner[key] or not isinstance(inner[key], dict | list) or draw.random() < 0.15:
            break
        inner = inner[key]
    how = draw.random()
    if how < 0.15 and isinstance(inner, dict):
        del inner[key]
    elif how < 0.3 and isinstance(inner, list):
        inner.append(copy.deepcopy(inner[key]))
    else:
        inner[key] = copy.deepcopy(draw.choice(VALUES))
    return whole


def damage(data, draw):
    """Cut off, or with some bytes changed, left out or put in."""
    place = draw.randrange(len(data))
    how = draw.random()
    if how < 0.3:
        return data[:place]
    junk = bytes(draw.randrange(256) for _ in range(draw.choice((1, 1, 2, 8))))
    return data[:place] + junk + data[place + (0 if how < 0.5 else len(junk)) :]


def outcome(run, name):
    """ "read", or the one line of its refusal."""
    begun = time.monotonic()
    try:
        run()
        told = "read"
    except (ValueError, OSError) as error:
        told = str(error)
        assert told and "\n" not in told and name in told, told
    assert time.monotonic() - begun < SECONDS
    return told


@pytest.fixture(autouse=True)
def _memory_stays_small():
    """Measured from this test's own begin: what ran before it in this process counts in no peak."""
    if not PEAK.exists():  # only Linux tells, and forgets
        yield
        return
    PEAK.write_text("5")
    before = peak()
    yield
    assert peak() < before + GIGABYTES


def peak():
    """Most memory that this process has held at once since the peak was last forgotten, in GiB."""
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) / 2**20


def test_broken_annotations(tmp_path):
    described = content()
    described["annotations"][0]["area"] = 1500
    file, draw, found = tmp_path / "a.json", random.Random(0), []
    for number in range(900):
        if number % 3:
            text = json.dumps(spoil(described, draw)).encode("utf-8", "surrogatepass")
        else:
            text = damage(json.dumps(described).encode(), draw)
        file.write_bytes(text)
        found.append(outcome(lambda: CocoDataset(None, file).require_ground_truth(), "a.json"))
    assert 20 < found.count("read") < 600


def of_damaged(files, times, head, read):
    """What becomes of reading them, damaged anew each time: half of the times in their head."""
    whole, draw, found = {file: file.read_bytes() for file in files}, random.Random(1), []
    for number in range(times):
        file = files[number % len(files)]
        end = head if number % 4 < 2 else len(whole[file])
        file.write_bytes(damage(whole[file][:end], draw) + whole[file][end:])
        found.append(outcome(partial(read, file), file.name))
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")  # PIL says what it forgives
def test_broken_images(tmp_path):
    """Half of them with the size that annotations give, half as `predict` meets them."""
    draw, files = random.Random(3), []
    picture = Image.frombytes("RGB", (60, 40), draw.randbytes(60 * 40 * 3))
    for name in FORMATS:
        files.append(tmp_path / f"a.{name.lower()}")
        picture.save(files[-1], format=name)
    sizes = (None, (60, 40))
    found = of_damaged(files, 600, 200, lambda file: read_pixels(file, draw.choice(sizes)))
    assert 100 < found.count("read") < 500


def test_broken_weights(tmp_path):
    files = [save_own(tmp_path / "a.safetensors"), save_own(tmp_path / "a.ckpt")]
    assert of_damaged(files, 240, 4000, load_detector).count("read") < 200


def test_broken_archives(tmp_path, monkeypatch):
    """A quarter of them as they are, the others with a manifest that fits, by one who knows how."""
    monkeypatch.setattr(coco_bootstrap, "RESAMPLES", 20)  # all is recomputed for each of them
    rows = {"seeds": (0,), "rows": ("1",), "num_images": 6}
    members = read(export(tmp_path / "results", tmp_path / "whole.zip", **rows))
    draw, path = random.Random(2), tmp_path / "a.zip"
    names, found = [name for name in members if name != MANIFEST], []
    for number in range(240):
        name = draw.choice(names)
        if number % 2 and name.endswith(".json"):
            text = json.dumps(spoil(json.loads(members[name]), draw))
            data = text.encode("utf-8", "surrogatepass")
        else:
            data = damage(members[name], draw)
        (reseal if number % 4 else write)(members | {name: data}, path)
        told = outcome(lambda: found.append(verify(path).problems), "a.zip")
        if told == "read" and not number % 4:
            assert data == members[name] or found[-1], f"{number}: {name} was changed unsaid"
    assert sum(map(bool, found)) > 140
