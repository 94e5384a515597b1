"""Sealed results: one file with all that some tables rest on, and a digest that stands for it.

    README.txt                      what this is, for a reader without this tool
    claims/<setup>.md, .json        what its tables say about the paper's claims
    tables/<setup>/<table>.json     the report's bundle (bundle.py); .npz: its arrays
    tables/<setup>/<table>.md       the table as it is printed
    runs/<signature>/               run.json, result.json, history.jsonl, matches.npz, insight.json,
                                    warnings.json
    manifest.json                   the sha256 of each of these, and the digest of it all

seal     a folder of these -> a zip archive; equal content gives equal bytes
unseal   and back: nothing is trusted, and nothing written outside the folder

The digest proves that an archive is the one whose digest was published. It is no signature: who
makes up an archive can give it a digest as well (docs/archive.md).
"""

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FORMAT = 2  # raised when an older reader could not read it
MANIFEST = "manifest.json"
TABLE_FILES = (".json", ".npz", ".md")
RUN_FILES = (
    *("run.json", "result.json", "history.jsonl", "matches.npz", "insight.json"),
    "warnings.json",
)
PART = r"[A-Za-z0-9][A-Za-z0-9.,=_-]*"  # of a name: of a setup, or of a table
MEMBER = re.compile(
    rf"README\.txt|claims/{PART}\.(md|json)"
    rf"|tables/{PART}/{PART}({'|'.join(map(re.escape, TABLE_FILES))})"
    rf"|runs/[0-9a-f]{{12}}/({'|'.join(map(re.escape, RUN_FILES))})"
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every member: the oldest date that zip knows
# What plain data of another kind than expected can raise: nobody vouches for an archive's.
MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)
MOST_MEMBERS = 100_000
MOST_BYTES = 2**31  # of a member: sixty times the match records of a run on COCO

# hash       a member is not what the manifest says
# signature  a run is not the one that it is called, or not the row's
# record     what a check needs is missing or unsound
# number     it does not follow from the match records
# table      a bundle is not made of the archive's runs, or the paper's numbers are others
# text       what is printed is something else
Kind = Literal["hash", "signature", "record", "number", "table", "text"]


@dataclass(frozen=True)
class Problem:
    """Why something does not stand.

    where: the member, or what several belong to: "runs/9f3a...", "tables/demo-shapes/table2".
    part: the field of Metrics, or the claim, that it is about; empty where it is about all.
    """

    kind: Kind
    where: str
    text: str
    part: str = ""

    @property
    def owner(self) -> str:
        """The run or table whose numbers it is about; a printed page stands for itself."""
        name, _, ending = self.where.rpartition(".")
        if self.where.startswith("runs/"):
            return "/".join(self.where.split("/")[:2])
        return name if ending in ("json", "npz") else self.where

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
    names = sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    )
    for name in names:
        if not MEMBER.fullmatch(name):
            raise ValueError(f"an archive has no place for a file called {name}")
    hashes = {name: _sha256(folder / name) for name in names}
    content = {"format": FORMAT, **about, "members": hashes}
    content["digest"] = digest(content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry(MANIFEST), _text(content))
        for name in names:
            entry = _entry(name)
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as source, archive.open(entry, "w") as member:
                shutil.copyfileobj(source, member)
    return str(content["digest"])


def _entry(name: str) -> zipfile.ZipInfo:
    """A member without anything that is not its content: no date, no owner, no compression."""
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system = 3  # Unix, whatever this machine is
    entry.external_attr = 0o644 << 16
    return entry


def digest(manifest: Mapping[str, Any]) -> str:
    """sha256 of all that a manifest says, but for the digest itself."""
    content = {name: value for name, value in manifest.items() if name != "digest"}
    return hashlib.sha256(_text(content).encode()).hexdigest()


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def unseal(path: Path, folder: Path) -> Unsealed:
    """Write an archive's members into an empty folder, and compare them with the manifest.

    ValueError for a file that is no archive, or one that no reader should unpack.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _harmless(path, archive)
            manifest = _manifest(path, archive)
            problems = _seal_problems(manifest, archive.read(MANIFEST).decode())
            stated: Mapping[str, Any] = manifest["members"]
            for name in sorted(stated.keys() - entries.keys()):
                problems.append(Problem("hash", name, "the manifest lists it, it is not there"))
            for name, entry in entries.items():
                if name == MANIFEST:
                    continue
                if not MEMBER.fullmatch(name):
                    problems.append(Problem("hash", name, "no archive holds such a member"))
                elif problem := _unpack(archive, entry, folder / name, stated.get(name)):
                    problems.append(Problem("hash", name, problem))
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, EOFError) as error:
        reason = "it is no zip file, or a damaged one"
        raise ValueError(f"{path} is no archive of atss export: {reason}") from error
    return Unsealed(folder, manifest, digest(manifest), tuple(problems))


def _harmless(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name; ValueError where unpacking would take more than the file promises."""
    entries = archive.infolist()
    reason = ""
    if len(entries) > MOST_MEMBERS:
        reason = f"{len(entries)} members, at most {MOST_MEMBERS} are read"
    elif any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        reason = "members are compressed, which those of atss export never are"
    elif any(entry.flag_bits & 1 for entry in entries):
        reason = "members are encrypted"
    elif sum(entry.file_size for entry in entries) > path.stat().st_size:
        reason = "its members claim to be larger than the file"
    elif any(entry.file_size > MOST_BYTES for entry in entries):
        reason = f"a member has more than {MOST_BYTES:,} bytes"
    elif len({entry.filename for entry in entries}) < len(entries):
        reason = "two members have one name"
    if reason:
        raise ValueError(f"{path} is no archive of atss export: {reason}")
    return {entry.filename: entry for entry in entries}


def _manifest(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    """The manifest of this version; ValueError where there is none."""
    content: Any = None
    is_there = MANIFEST in archive.namelist()
    with suppress(ValueError, RecursionError):
        content = json.loads(archive.read(MANIFEST)) if is_there else None
    reason = ""
    if not is_there:
        reason = f"it has no {MANIFEST}"
    elif not isinstance(content, dict) or "format" not in content:
        reason = f"its {MANIFEST} is not one that atss export writes"
    elif content["format"] != FORMAT:
        reason = f"format {content['format']!r:.20}, this version reads {FORMAT}"
    elif not isinstance(content.get("members"), dict):
        reason = "its manifest lists no members"
    if reason:
        raise ValueError(f"{path} is no archive of atss export: {reason}")
    return dict(content)


def _seal_problems(manifest: Mapping[str, Any], text: str) -> list[Problem]:
    """Whether the manifest is what its own digest says."""
    if manifest.get("digest") != digest(manifest):
        return [Problem("hash", MANIFEST, "its content is not what its digest says")]
    if text != _text(manifest):  # a key given twice, say
        return [Problem("hash", MANIFEST, "its text is not as atss export writes it")]
    return []


def _unpack(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, stated: object
) -> str | None:
    """Write a member; why it is not what the manifest states, if so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(entry) as member, path.open("wb") as target:
            shutil.copyfileobj(member, target)
    except zipfile.BadZipFile:
        return "damaged: its bytes have changed"
    if stated is None:
        return "the manifest does not list it"
    return None if _sha256(path) == stated else "its content is not what the manifest says"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
