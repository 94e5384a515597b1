"""Sealed results: one zip file with all that some tables rest on, and a digest that stands for it.

    seal       a folder's files -> the archive, and its digest: the sha256 of its manifest
    unseal     the archive -> those of its files that are as the manifest says
    check_run  whether a run is the one it is called, and its numbers follow from its match records

docs/archive.md says what is inside, and what the digest proves. Nobody vouches for an archive: of
what it holds nothing is executed or unpickled, or read that is larger than it may be.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from math import isclose
from pathlib import Path

import msgspec
import numpy as np

from detector.evaluation.match_records import AREAS, IGNORED, IOUS, TRUE, Matches, load_matches
from detector.metrics import HEADINGS
from experiments.experiment import OwnAssigner, signature_of
from reports.coco_bootstrap import metrics_of

FORMAT = 4  # raised when an older reader could not read it
MANIFEST = "manifest.json"
PART = r"[A-Za-z0-9][A-Za-z0-9.,=_-]*"  # of a name: of a setup, or of a table
MEMBER = re.compile(
    rf"README\.txt|claims/{PART}\.(md|jsonl)|tables/{PART}/{PART}\.(md|csv|json)|runs/[0-9a-f]{{12}}/"
    r"((run|result|insight|warnings)\.json|history\.jsonl|matches\.npz)"
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every member: the oldest date that zip knows
MOST_BYTES = 2**28  # of a member, and of records unpacked: five times those of a run on COCO
EXACT = 1e-9  # AP points: sums may round differently on another machine, digits do not change so
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)(?![\w.])")


class Manifest(msgspec.Struct):
    """What an archive says of itself. code: what sealed it; members: name -> sha256."""

    format: int
    code: dict[str, str]
    members: dict[str, str]


def seal(folder: Path, code: Mapping[str, str], path: Path) -> str:
    """Write those of a folder's files that an archive has a place for; its digest."""
    found = {it.relative_to(folder).as_posix(): it for it in folder.rglob("*") if it.is_file()}
    files = {name: found[name] for name in sorted(found) if MEMBER.fullmatch(name)}
    members = {name: _sha256(file.read_bytes()) for name, file in files.items()}
    content = {"format": FORMAT, "code": dict(code), "members": members}
    manifest = json.dumps(content, indent=1).encode() + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in (MANIFEST, *files):
            entry = zipfile.ZipInfo(name, EPOCH)  # nothing that is not content: no date, no owner
            entry.create_system = 3  # Unix, whatever this machine is
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, manifest if name == MANIFEST else files[name].read_bytes())
    return _sha256(manifest)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def unseal(path: Path, folder: Path) -> tuple[Manifest, str, list[str]]:
    """Write an archive's members into an empty folder, but those that are not as it says.

    Returns its manifest, its digest, and what is wrong with members. ValueError for a file that is
    no archive, or one that no reader should unpack.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names, problems = _harmless(archive.infolist(), path.stat().st_size), list[str]()
            text = archive.read(MANIFEST)
            manifest = msgspec.json.decode(text, type=Manifest)
            if manifest.format != FORMAT:
                raise ValueError(f"format {manifest.format}, this version reads {FORMAT}")
            for name in sorted((names | manifest.members.keys()) - {MANIFEST}):
                content = archive.read(name) if name in names else b""
                if MEMBER.fullmatch(name) and _sha256(content) == manifest.members.get(name):
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(content)
                else:
                    problems.append(f"{name}: it is not what the manifest says, or has no place")
            return manifest, _sha256(text), problems
    except Exception as error:  # what nobody vouches for may raise anything
        why = getattr(error, "strerror", None) or error
        reason = f"{path} is no archive of atss export: {why}"
        raise ValueError(" ".join(reason.split())) from error


def _harmless(entries: list[zipfile.ZipInfo], size: int) -> set[str]:
    """Their names; ValueError where unpacking takes more than a file of this size promises."""
    names, sizes = {it.filename for it in entries}, [it.file_size for it in entries]
    if MANIFEST not in names or len(names) < len(entries):
        raise ValueError(f"it has no {MANIFEST}, or two members of one name, or is cut off")
    if any(it.compress_type != zipfile.ZIP_STORED for it in entries):
        raise ValueError("members are compressed, which those of atss export never are")
    if sum(sizes) > size or max(sizes) > MOST_BYTES:
        raise ValueError(f"members claim more bytes than the file has, or than {MOST_BYTES:,}")
    return names


def check_run(folder: Path) -> None:
    """ValueError for a run that is not the one it is called, or whose numbers do not follow.

    Content of another kind than expected raises whatever reading it does.
    """
    facts = json.loads((folder / "run.json").read_bytes())
    result = json.loads((folder / "result.json").read_bytes())
    its, own = facts["canonical"], facts.get("assigner")
    for what, found, needed in (
        ("name", signature_of(its), folder.name),
        ("seed", facts["seed"], its["seed"]),
        ("seed", result["seed"], its["seed"]),
        ("data set", facts["data"]["fingerprint"], its["data"]),
        ("assigner", OwnAssigner(**own).identity if own else None, its.get("assigner")),
    ):
        if found != needed:
            raise ValueError(f"its {what} is {found!r:.60}, needs {needed!r:.60}")
    with zipfile.ZipFile(folder / "matches.npz") as records:
        if sum(entry.file_size for entry in records.infolist()) > MOST_BYTES:
            raise ValueError(f"its match records have more than {MOST_BYTES:,} bytes")
    matches = load_matches(folder / "matches.npz")
    if not _are_sound(matches, facts["data"]["images"]["val"], len(facts["data"]["classes"])):
        raise ValueError("its match records are not those of an evaluation on its data")
    stated = [result["metrics"][name] for name in HEADINGS]
    made = metrics_of(matches, np.ones((1, len(matches.image_ids)), dtype=np.uint8))[0]
    values = np.array(stated, dtype=np.float64)  # of None NaN, as in what is made
    if not np.allclose(values, made, rtol=0, atol=EXACT, equal_nan=True):
        raise ValueError(f"its numbers are {stated}, its match records give {made.tolist()}")


def _are_sound(matches: Matches, num_images: int, num_classes: int) -> bool:
    """Whether match records have the form, the values and the order of an evaluation's."""
    num_detections, num_objects = len(matches.score), len(matches.truth_counts)
    for name, shape, most in (
        ("image_ids", (num_images,), None),
        ("category_ids", (num_classes,), None),
        ("image", (num_detections,), num_images),
        ("category", (num_detections,), num_classes),
        ("score", (num_detections,), None),
        ("state", (num_detections, len(AREAS), len(IOUS)), IGNORED + 1),
        ("truth_image", (num_objects,), num_images),
        ("truth_category", (num_objects,), num_classes),
        ("truth_counts", (num_objects, len(AREAS)), 2),
    ):
        values = getattr(matches, name)
        if values.shape != shape or (most and not np.isin(values, np.arange(most)).all()):
            return False
    steps, scores = np.diff(matches.category.astype(np.int64)), np.diff(matches.score)
    if (steps < 0).any() or not (scores[steps == 0] <= 0).all():
        return False
    # Of no class has an image more true detections than objects, at any area and IoU.
    found = matches.image.astype(np.int64) * num_classes + matches.category
    there = matches.truth_image.astype(np.int64) * num_classes + matches.truth_category
    keys, pairs = np.unique(np.concatenate([found, there]), return_inverse=True)
    for area, iou in np.ndindex(len(AREAS), len(IOUS)):
        is_true, counts = matches.state[:, area, iou] == TRUE, matches.truth_counts[:, area]
        right = np.bincount(pairs[: len(found)][is_true], minlength=len(keys))
        if (right > np.bincount(pairs[len(found) :][counts], minlength=len(keys))).any():
            return False
    return True


def is_same(one: str, other: str) -> bool:
    """Equal texts, but for numbers that another machine's sums round differently."""
    if NUMBER.sub("#", one) != NUMBER.sub("#", other):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(isclose(float(a), float(b), rel_tol=0, abs_tol=EXACT) for a, b in pairs)
