"""Sealed results: one file with all that some tables rest on, and a digest that stands for it.

docs/archive.md says what is inside, what each kind of problem is, and what the digest proves.
"""

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isclose, isnan, prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from detector.evaluation.match_records import AREAS, IGNORED, IOUS, TRUE, Matches, load_matches
from detector.metrics import HEADINGS
from experiments.experiment import OwnAssigner, signature_of
from reports.coco_bootstrap import metrics_of

FORMAT = 3  # raised when an older reader could not read it
MANIFEST = "manifest.json"
PART = r"[A-Za-z0-9][A-Za-z0-9.,=_-]*"  # of a name: of a setup, or of a table
MEMBER = re.compile(
    rf"README\.txt|claims/{PART}\.(md|json)|tables/{PART}/{PART}\.(md|csv|json)|runs/[0-9a-f]{{12}}/"
    r"((run|result|insight|warnings)\.json|history\.jsonl|matches\.npz)"
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every member: the oldest date that zip knows
MOST_MEMBERS = 100_000
MOST_BYTES = 2**28  # of a member, and of records unpacked: five times those of a run on COCO
SHOWN = 60  # letters of a value in a line that says it differs
EXACT = 1e-9  # AP points: sums may round differently on another machine, digits do not change so
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)(?![\w.])")
# What plain data of another kind than expected can raise: nobody vouches for an archive's.
MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    *(EOFError, NotImplementedError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error),
)
Kind = Literal["hash", "signature", "record", "number", "table", "text"]


@dataclass(frozen=True)
class Problem:
    """Why something does not stand.

    where: the member, or what several belong to: "runs/9f3a...", "tables/demo-shapes/table2".
    """

    kind: Kind
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.text}"


@dataclass(frozen=True)
class Unsealed:
    """An archive's members in a folder, and what is wrong with the seal."""

    folder: Path
    manifest: Mapping[str, Any]
    digest: str  # of the manifest as it is, whatever it says of itself
    problems: tuple[Problem, ...]


def seal(folder: Path, about: Mapping[str, Any], path: Path) -> str:
    """Write a folder's files and their manifest as an archive; its digest.

    about: what else the manifest says. ValueError for a file that no archive holds.
    """
    files = {it.relative_to(folder).as_posix(): it for it in folder.rglob("*") if it.is_file()}
    names = sorted(files)
    for name in names:
        if not MEMBER.fullmatch(name):
            raise ValueError(f"an archive has no place for a file called {name}")
    hashes = {name: _sha256(files[name].read_bytes()) for name in names}
    content = {"format": FORMAT, **about, "members": hashes}
    content["digest"] = _digest(content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in (MANIFEST, *names):
            entry = zipfile.ZipInfo(name, EPOCH)  # nothing that is not content: no date, no owner
            entry.create_system = 3  # Unix, whatever this machine is
            entry.external_attr = 0o644 << 16
            data = _bytes(content) if name == MANIFEST else files[name].read_bytes()
            archive.writestr(entry, data)
    return content["digest"]


def _digest(manifest: Mapping[str, Any]) -> str:
    """Of all that a manifest says, but for the digest itself."""
    return _sha256(_bytes({name: it for name, it in manifest.items() if name != "digest"}))


def _bytes(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def unseal(path: Path, folder: Path) -> Unsealed:
    """Write an archive's members into an empty folder, and compare them with the manifest.

    ValueError for a file that is no archive, or one that no reader should unpack.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _require_harmless_entries(archive.infolist(), path.stat().st_size)
            manifest, problems = _manifest(archive)
            stated: Mapping[str, Any] = manifest["members"]
            for name in sorted(stated.keys() - {*archive.namelist()}):
                problems.append(Problem("hash", name, "the manifest lists it, it is not there"))
            for name in archive.namelist():
                if name != MANIFEST and (text := _unpack(archive, name, folder, stated.get(name))):
                    problems.append(Problem("hash", name, text))
            return Unsealed(folder, manifest, _digest(manifest), tuple(problems))
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, EOFError):
        reason = "it is no zip file, or a damaged one"
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{path} is no archive of atss export: {reason}")


def _require_harmless_entries(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """ValueError where unpacking would take more than a file of this size promises."""
    sizes = [entry.file_size for entry in entries]
    reasons = {
        f"{len(entries)} members, at most {MOST_MEMBERS} are read": len(entries) > MOST_MEMBERS,
        "members are compressed, which those of atss export never are": any(
            entry.compress_type != zipfile.ZIP_STORED for entry in entries
        ),
        "members are encrypted": any(entry.flag_bits & 1 for entry in entries),
        "its members claim to be larger than the file": sum(sizes) > size,
        f"a member has more than {MOST_BYTES:,} bytes": max(sizes, default=0) > MOST_BYTES,
        "two members have one name": len({entry.filename for entry in entries}) < len(entries),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ValueError(reason)


def _manifest(archive: zipfile.ZipFile) -> tuple[dict[str, Any], list[Problem]]:
    """The manifest, and whether it is what its own digest says; ValueError where there is none."""
    if MANIFEST not in archive.namelist():
        raise ValueError(f"it has no {MANIFEST}")
    text, content = archive.read(MANIFEST), None
    with suppress(ValueError, RecursionError):
        content = json.loads(text)
    if not isinstance(content, dict) or "format" not in content:
        raise ValueError(f"its {MANIFEST} is not one that atss export writes")
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r:.20}, this version reads {FORMAT}")
    if not isinstance(content.get("members"), dict):
        raise ValueError("its manifest lists no members")
    is_whole = text == _bytes({**content, "digest": _digest(content)})
    problem = Problem("hash", MANIFEST, "its content is not what its digest says")
    return content, [] if is_whole else [problem]


def _unpack(archive: zipfile.ZipFile, name: str, folder: Path, stated: object) -> str:
    """Write a member; why it is not what the manifest states, if so."""
    if not MEMBER.fullmatch(name):
        return "no archive holds such a member"
    try:
        path = Path(archive.extract(name, folder))
    except zipfile.BadZipFile:
        return "damaged: its bytes have changed"
    if stated is None:
        return "the manifest does not list it"
    is_stated = _sha256(path.read_bytes()) == stated
    return "" if is_stated else "its content is not what the manifest says"


# Runs


def check_run(folder: Path) -> Iterator[Problem]:
    """What is wrong with a run's folder, read as one that nobody vouches for."""
    where, records = f"runs/{folder.name}", folder / "matches.npz"
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        stated = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        for text in _other_names(folder.name, facts, stated):
            yield Problem("signature", where, text)
        if not records.is_file():
            raise ValueError("no match records, so its numbers cannot be computed again")
        require_harmless(records)
        matches = load_matches(records)
        for problem in _unsound(matches, facts["data"]):
            raise ValueError(f"matches.npz: {problem}")
        weights = np.ones((1, len(matches.image_ids)), dtype=np.uint8)
        made = [None if isnan(it) else float(it) for it in metrics_of(matches, weights)[0]]
        for (name, heading), value in zip(HEADINGS.items(), made, strict=True):
            if not is_same(repr(its := stated["metrics"][name]), repr(value)):
                text = f"{heading} {its!r} in result.json, its records give {value!r}"
                yield Problem("number", where, text)
    except MALFORMED as error:
        yield Problem("record", where, f"{type(error).__name__}: {error!s:.200}")


def _other_names(signature: str, facts: Any, stated: Any) -> Iterator[str]:
    """Where a run is not the one that its folder's name says."""
    its = facts["canonical"]
    if signature_of(its) != signature:
        yield "its config, recipe, data set and seed have another signature"
    own = OwnAssigner(**facts["assigner"]).identity if facts.get("assigner") else None
    for name, found, needed in (
        ("signature", facts["signature"], signature),
        ("seed", facts["seed"], its["seed"]),
        ("data set", facts["data"]["fingerprint"], its["data"]),
        ("data set", facts["setup"]["fingerprint"], its["data"]),
        ("the source of an assigner", own, its.get("assigner")),
    ):
        if found != needed:
            yield f"run.json says {name} {found!r:.40}, its signature is of {needed!r:.40}"
    if (stated["signature"], stated["seed"]) != (signature, facts["seed"]):
        yield f"result.json is of {stated['signature']!r:.40}, seed {stated['seed']!r:.40}"


def require_harmless(path: Path) -> None:
    """ValueError where an .npz would take more memory than it may, or holds objects."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise ValueError(f"{path.name}: unpacked it has more than {MOST_BYTES:,} bytes")
        for entry in entries:
            with archive.open(entry) as file:
                is_first = np.lib.format.read_magic(file) == (1, 0)
                read = getattr(np.lib.format, f"read_array_header_{1 if is_first else 2}_0")
                shape, _, dtype = read(file)
                size = file.tell() + prod(shape) * dtype.itemsize
            if dtype.hasobject:
                raise ValueError(f"{path.name}: {entry.filename} holds Python objects")
            if size != entry.file_size or min(shape, default=0) < 0:
                raise ValueError(f"{path.name}: {entry.filename} is not as large as it says")


def _unsound(matches: Matches, data: Any) -> Iterator[str]:
    """What keeps match records from being those of an evaluation on this data."""
    images, classes = matches.image_ids, matches.category_ids
    num_detections, num_objects = len(matches.score), len(matches.truth_counts)
    for name, shape, kind, most in (
        ("image_ids", (data["images"]["val"],), np.integer, None),
        ("category_ids", (len(data["classes"]),), np.integer, None),
        ("image", (num_detections,), np.integer, len(images)),
        ("category", (num_detections,), np.integer, len(classes)),
        ("score", (num_detections,), np.floating, None),
        ("state", (num_detections, len(AREAS), len(IOUS)), np.unsignedinteger, IGNORED + 1),
        ("truth_image", (num_objects,), np.integer, len(images)),
        ("truth_category", (num_objects,), np.integer, len(classes)),
        ("truth_counts", (num_objects, len(AREAS)), np.bool_, None),
    ):
        found = getattr(matches, name)
        if found.shape != shape or not np.issubdtype(found.dtype, kind):
            yield f"{name} is {found.dtype} {found.shape}, needs {kind.__name__} {shape}"
        elif most and found.size and not 0 <= found.min() <= found.max() < most:
            yield f"{name} has a value that is none of {most}"
    if not np.isfinite(matches.score).all():
        yield "a score is not finite"
    steps = np.diff(matches.category.astype(np.int64))
    if (steps < 0).any() or (np.diff(matches.score)[steps == 0] > 0).any():
        yield "detections are not in the order of their classes and scores"
    if any(len(np.unique(ids)) < len(ids) for ids in (images, classes)):
        yield "an image's or a class's id is there twice"
    # Of no class has an image more true detections than objects, at any area and IoU.
    found = matches.image.astype(np.int64) * len(classes) + matches.category
    there = matches.truth_image.astype(np.int64) * len(classes) + matches.truth_category
    keys, pairs = np.unique(np.concatenate([found, there]), return_inverse=True)
    for area, iou in np.ndindex(len(AREAS), len(IOUS)):
        is_true, counts = matches.state[:, area, iou] == TRUE, matches.truth_counts[:, area]
        right = np.bincount(pairs[: len(found)][is_true], minlength=len(keys))
        if (right > np.bincount(pairs[len(found) :][counts], minlength=len(keys))).any():
            yield "more detections are right than there is to be found"


# Members, compared


def is_same(one: str, other: str) -> bool:
    """Equal texts, but for numbers that another machine's sums round differently."""
    if NUMBER.sub("#", one) != NUMBER.sub("#", other):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    return all(isclose(float(a), float(b), rel_tol=0, abs_tol=EXACT) for a, b in pairs)


def unlike(stated: str, made: str) -> str:
    """Both texts, from shortly before they part."""
    start = max(0, len(os.path.commonprefix([stated, made])) - SHOWN // 2)
    one, other = (text[start : start + SHOWN].strip() or "nothing" for text in (stated, made))
    return f"is {one}, made again it is {other}"
