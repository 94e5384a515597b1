"""Sealed results: whatever is changed in an archive is found, and for the right reason."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from made_up_folder import RECIPE, SETUP, fill

from experiments import TABLES
from experiments.experiment import Row, Table, signature
from orchestration.archive import stage, verify
from orchestration.plan import setups_in
from orchestration.run_folder import Store
from reports import archive, coco_bootstrap
from reports.archive import FORMAT, MANIFEST, check_run, seal, unseal

Members = dict[str, bytes]
Change = Callable[[Members], object]
TABLE2 = TABLES["table2"]
TABLE = "tables/demo-animals/table2"
PAGE, ROWS, NUMBERS = f"{TABLE}.md", f"{TABLE}.json", f"{TABLE}.csv"
CLAIMS = "claims/demo-animals.jsonl"
FIRST = f"runs/{signature(SETUP.row_run(TABLE2.rows[0], 0))}"
RUN, RESULT = f"{FIRST}/run.json", f"{FIRST}/result.json"
RECORDS, INSIGHT = f"{FIRST}/matches.npz", f"{FIRST}/insight.json"
CODE = {"version": "1"}
ALL_RESAMPLES = coco_bootstrap.RESAMPLES


def export(root: Path, path: Path, *tables: Table, **options: Any) -> Path:
    """Fill a results folder and seal it."""
    return sealed(fill(root, tables or [TABLE2], **options), path, *tables)


def sealed(store: Store, path: Path, *tables: Table) -> Path:
    with TemporaryDirectory() as folder:
        stage(store, setups_in(store), tables or [TABLE2], Path(folder), lambda text: None)
        seal(Path(folder), CODE, path)
    return path


@pytest.fixture(scope="module", autouse=True)
def _fewer_samples() -> Iterator[None]:
    """Nothing here depends on how many there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_bootstrap, "RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows of Table 2, one seed."""
    folder = tmp_path_factory.mktemp("sealed")
    return export(folder / "results", folder / "table2.zip", seeds=(0,), rows=("1", "3"))


def read(path: Path) -> Members:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(members: Members, compression: int = zipfile.ZIP_STORED) -> bytes:
    """As they are, with whatever manifest they have."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, member in members.items():
            file.writestr(name, member)
    return content.getvalue()


def write(members: Members, path: Path) -> Path:
    path.write_bytes(zipped(members))
    return path


def reseal(members: Members, path: Path) -> Path:
    """What somebody does who wants a change not to be seen."""
    hashes = {it: hashlib.sha256(members[it]).hexdigest() for it in members if it != MANIFEST}
    manifest = json.dumps({"format": FORMAT, "code": CODE, "members": hashes})
    return write({**members, MANIFEST: manifest.encode()}, path)


# Changes of an archive


def at(name: str, *keys: Any) -> Change:
    """Set an entry some levels down in JSON or arrays; the last key is its new value.

    A callable gets the old value.
    """
    *path, last, value = keys

    def change(members: Members) -> None:
        data, is_json = members[name], name.endswith(".json")
        content = json.loads(data) if is_json else dict(np.load(BytesIO(data)))
        inner = reduce(lambda it, key: it[key], path, content)
        inner[last] = value(inner[last]) if callable(value) else value
        file = BytesIO()
        if is_json:
            file.write(json.dumps(content, indent=1).encode())
        else:
            np.savez_compressed(file, **content)
        members[name] = file.getvalue()

    return change


def wording(name: str, old: bytes, new: bytes) -> Change:
    return lambda members: members.update({name: members[name].replace(old, new, 1)})


def other_images(members: Members) -> None:
    """Where wrong detections are does not matter to AP; it does to its interval."""
    arrays = np.load(BytesIO(members[RECORDS]))
    is_wrong = arrays["state"][:, 0, 0] == 0
    moved = np.where(is_wrong, (arrays["image"] + 1) % 12, arrays["image"])
    at(RECORDS, "image", moved)(members)


NUMBERS_DIFFER, UNSOUND = "its match records give", "not those of an evaluation"
CHANGES: dict[str, tuple[Change, str]] = {  # what -> how, and what is said of it
    "a result's number": (at(RESULT, "metrics", "ap_s", lambda it: it + 0.1), NUMBERS_DIFFER),
    "a result's seed": (at(RESULT, "seed", 1), "its seed is 1"),
    "a result's run": (at(RESULT, "signature", "0" * 12), "table2.csv: 12 of 25"),
    "states": (at(RECORDS, "state", lambda it: it * 0), NUMBERS_DIFFER),
    "the order": (at(RECORDS, "score", lambda it: it[::-1]), UNSOUND),
    "the images of detections": (other_images, "table2.csv"),
    "scores of words": (at(RECORDS, "score", lambda it: it.astype(str)), "ufunc 'subtract'"),
    "images with too much right": (at(RECORDS, "image", lambda it: it * 0), UNSOUND),
    "a state that is none": (at(RECORDS, "state", 0, 7), UNSOUND),
    "a pickle": (at(RECORDS, "score", np.array([None])), "Object arrays cannot be loaded"),
    "a toggle": (at(RUN, "canonical", "config", "centerness", False), "its name is"),
    "a setup's schedule": (at(RUN, "setup", "recipe", "iterations", 41), "table2.csv"),
    "a run's seed": (at(RUN, "seed", 1), "its seed is 1"),
    "the data's fingerprint": (at(RUN, "data", "fingerprint", "e" * 64), "its data set is 'eee"),
    "the number of images": (at(RUN, "data", "images", "val", 13), UNSOUND),
    "a note on the data": (at(RUN, "data", "notes", ["none"]), "table2.md"),
    "an assigner": (at(RUN, "assigner", {"name": "a", "source": "b"}), "its assigner is {'name"),
    "a number of a table": (wording(NUMBERS, b",37.0,", b",36.0,"), "table2.csv: 1 of 25"),
    "a number of the paper": (at(ROWS, "rows", 0, "paper", "ap", 31.0), "table2.json: 1 of"),
    "a printed number": (wording(PAGE, b"37.0", b"31.0"), "table2.md: 1 of"),
    "a verdict": (wording(CLAIMS, b"undecided", b"supported"), "animals.jsonl: 1 of 2"),
    "JSON without an end": (lambda it: it.update({RESULT: b"[" * 100_000}), "RecursionError"),
    "a table that is none": (lambda it: it.update({ROWS: b"null"}), "no table can be made"),
    "records left out": (lambda it: it.pop(RECORDS), "table2.csv: 12 of 25"),
    "errors left out": (lambda it: it.pop(INSIGHT), "table2.csv: 12 of 25"),
    "a table left out": (lambda it: it.pop(ROWS), "table2.csv: 25 of 25"),
    "numbers left out": (lambda it: it.pop(NUMBERS), "table2.csv: 25 of 25"),
}


def test_the_digest_is_of_all_members_and_pages_have_the_reports_other_grids(original):
    members = read(original)
    page = members[PAGE].decode()
    assert "and its change against" in page and "Code: 0.1.0, commit aaa" in page
    text = members.pop(MANIFEST)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    assert json.loads(text) == {"format": FORMAT, "code": CODE, "members": hashes}
    assert verify(original).digest == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_by_its_hash_or_when_sealed_anew_for_its_reason(what, original, tmp_path):
    before, (change, expected) = read(original), CHANGES[what]
    after = dict(before)
    change(after)
    touched = {it for it in before.keys() | after.keys() if after.get(it) != before.get(it)}
    _, _, problems = unseal(write(after, tmp_path / "a.zip"), tmp_path / "members")
    assert touched and {it.split(":")[0] for it in problems} == touched
    found = verify(reseal(after, tmp_path / "b.zip")).problems
    assert any(expected in it for it in found), found
    assert not [it for it in found if "manifest" in it]


def test_a_number_that_another_machine_sums_otherwise_stands(original, tmp_path):
    members = read(original)
    for off, stands in ((1e-12, True), (1e-6, False)):
        at(RESULT, "metrics", "ap", lambda it, off=off: it + off)(members)
        assert (verify(reseal(members, tmp_path / "a.zip")).problems == []) is stands


@pytest.mark.parametrize(
    "name", ["notes.txt", "runs/0123456789ab/../evil.json", "..\\evil", "../evil", "/tmp/evil.json"]
)
def test_nothing_is_written_outside_or_where_an_archive_has_no_place(name, original, tmp_path):
    path = reseal(read(original) | {name: b"1"}, tmp_path / "a.zip")
    inside = tmp_path / "a" / "b" / "c"
    inside.mkdir(parents=True)
    _, _, (problem,) = unseal(path, inside)
    assert problem.startswith(f"{name}: ") and "has no place" in problem
    assert not list(tmp_path.rglob("*evil*")) and not Path("/tmp/evil.json").exists()
    assert not list(inside.rglob("notes*"))


# What is sealed


@pytest.mark.slow
def test_the_study_that_lies_here_stands(monkeypatch):
    """Real runs, sealed by another version: their numbers, intervals and verdicts are today's."""
    monkeypatch.setattr(coco_bootstrap, "RESAMPLES", ALL_RESAMPLES)
    found = verify(ROOT / "docs" / "study" / "bccd" / "study.sealed.zip")
    told = {page: count for page, count in found.pages.items() if page.endswith((".csv", ".jsonl"))}
    assert [*told.values()] == [(6, 6), (24, 24), (30, 30)]
    assert found.digest in (ROOT / "docs" / "study" / "README.md").read_text()


def test_equal_results_are_equal_bytes(original, tmp_path, monkeypatch):
    """Wherever the folder lies, whoever exports it, whenever; and they tell nothing of that."""
    shutil.copytree(original.parent / "results", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    anew = sealed(Store(tmp_path / "elsewhere"), tmp_path / "a.zip")
    assert anew.read_bytes() == original.read_bytes()
    root = original.parent / "results"
    for secret in (str(root), "/data/animals", "/home/someone", str(Path.home()) + "/"):
        assert not [it for it, content in read(original).items() if secret.encode() in content]


def test_initial_weights_are_named_by_what_they_are(tmp_path):
    weights = tmp_path / "start.pth"
    weights.write_bytes(b"weights")
    changed = {"weights": str(weights)}
    options = {"settings": changed, "recipe": replace(RECIPE, **changed), "rows": ("1",)}
    config = TABLE2.rows[0].config
    table = Table(name="own", rows=(Row("a", config, recipe=changed), Row("b", config)))
    paths = [
        export(tmp_path / "of-setup", tmp_path / "a.zip", seeds=(0,), **options),
        export(tmp_path / "of-row", tmp_path / "b.zip", table, seeds=(0,)),
    ]
    weights.unlink()
    assert [verify(path).problems for path in paths] == [[], []]
    of_setup, of_row = map(read, paths)
    named = f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    (run,) = (json.loads(of_setup[name]) for name in of_setup if name.endswith("run.json"))
    assert run["setup"]["recipe"]["weights"] == run["setup"]["settings"]["weights"] == named
    row, _ = json.loads(of_row["tables/demo-animals/own.json"])["rows"]
    assert row["recipe"] == {"weights": named}


def test_what_no_archive_may_hold_is_refused(tmp_path):
    table = Table(name="own", rows=(Row(f"as in {tmp_path / 'results'}", TABLE2.rows[0].config),))
    with pytest.raises(ValueError, match="would hold .*results, which an archive must not tell"):
        export(tmp_path / "results", tmp_path / "a.zip", table, seeds=(0,))
    fill(tmp_path / "two", [TABLE2], seeds=(0,), rows=("1",))
    with pytest.raises(ValueError, match="two setups are called demo-animals: choose by --data"):
        longer = {"recipe": replace(RECIPE, iterations=50)}
        export(tmp_path / "two", tmp_path / "a.zip", seeds=(0,), rows=("1",), **longer)


def test_whatever_is_sealed_stands(tmp_path):
    """A dot in a setup's name; rows that have a stand-in at its scale."""
    options = {"settings": {"nms_threshold": 0.5}, "recipe": replace(RECIPE, nms_threshold=0.5)}
    tables, folder = (TABLE2, TABLES["table8"]), "tables/demo-nms_threshold=0.5-animals"
    found = verify(export(tmp_path / "a", tmp_path / "a.zip", *tables, seeds=(0,), **options))
    assert found.problems == []
    for table in tables:
        assert found.pages[f"{folder}/{table.name}.csv"] == (6 * len(table.rows),) * 2


# Archives that mean harm

COMPRESSED = zipped({MANIFEST: b"{}", "README.txt": b"0" * 1000}, zipfile.ZIP_DEFLATED)
TWICE = zipped({MANIFEST: b"{}", "1.txt": b"", "2.txt": b""}).replace(b"2.txt", b"1.txt")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04 and no more", "File is not a zip file"),
        (zipped({"README.txt": b"no manifest"}), "it has no manifest.json"),
        (zipped({MANIFEST: b"[1]"}), "Expected `object`, got `array`"),
        (zipped({MANIFEST: b'{"a":' * 20_000}), "maximum recursion depth"),
        (zipped({MANIFEST: b'{"format": 3, "code": {}, "members": {}}'}), "format 3, this version"),
        (COMPRESSED, "members are compressed, which those of atss export never are"),
        (TWICE, "two members of one name"),
        (zipped({MANIFEST: b" " * 200_000}), "members claim more bytes than the file has, or than"),
    ],
)
def test_what_is_no_archive_is_refused(content, reason, tmp_path, monkeypatch, refused):
    monkeypatch.setattr(archive, "MOST_BYTES", 150_000)
    (tmp_path / "a.zip").write_bytes(content)
    told = refused("verify", tmp_path / "a.zip")
    assert told.startswith(f"atss: {tmp_path}/a.zip is no archive of atss export: ")
    assert reason in told


def test_arrays_that_unpack_to_more_than_they_may_are_not_read(original, tmp_path, monkeypatch):
    unseal(original, tmp_path)
    run = next(tmp_path.glob("runs/*"))
    check_run(run)
    header = BytesIO()  # of ten terabytes, and nothing behind it
    described = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, described)
    arrays = read(run / "matches.npz")
    write(dict.fromkeys(arrays, header.getvalue()), run / "matches.npz")
    with pytest.raises((MemoryError, ValueError)):
        check_run(run)
    np.savez_compressed(run / "matches.npz", score=np.zeros(1_000_000))
    monkeypatch.setattr(archive, "MOST_BYTES", 1_000_000)
    with pytest.raises(ValueError, match="match records have more than 1,000,000 bytes"):
        check_run(run)


# The commands


def test_export_and_verify_say_what_stands_and_exit_so(atss, tmp_path, monkeypatch):
    fill(tmp_path / "results", [TABLE2], seeds=(0,), rows=("1", "3"))
    monkeypatch.chdir(tmp_path)
    code, output, _ = atss("export", "table2")
    assert code == 0 and "table2.sealed.zip: 1 table, 2 runs" in output and "!" not in output
    digest = output.split("digest ")[1].strip()
    for wanted in (digest, digest[:12].upper()):
        code, output, errors = atss("verify", "table2.sealed.zip", "--digest", wanted)
        assert code == 0 and not errors and f"{NUMBERS}: 24 of 24 cells stand" in output
        assert f"{CLAIMS}: 2 of 2 claims stand" in output and TABLE2.title in output
    code, output, errors = atss("verify", "table2.sealed.zip", "--digest", "0" * 12)
    assert code == 1 and not output and f"its digest is {digest}, not 000000000000" in errors
    members = read(tmp_path / "table2.sealed.zip")
    at(RESULT, "metrics", "ap", 99.0)(members)
    write(members, tmp_path / "changed.zip")
    code, output, errors = atss("verify", "changed.zip")
    assert code == 1 and f"{NUMBERS}: 12 of 24 cells stand" in output
    assert "0 of 2 claims stand" in output and "problems, the first: runs/" in errors


REFUSED = {
    "verify results": "Is a directory",
    "verify notes.txt": "notes.txt is no archive of atss export: File is not a zip file",
    "verify notes.txt --digest 3f2a...": "at least the first 12",
    "export table2 --to notes.txt": "needs a new file or an archive",
    "export table2 --to nowhere/a.zip": "there is no folder",
    "export table2": "no results for table2",
}


@pytest.mark.parametrize("line", REFUSED)
def test_commands_refuse_in_a_line_what_they_cannot_use(line, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "results" / "runs").mkdir(parents=True)
    assert REFUSED[line] in refused(*line.split())
    assert (tmp_path / "notes.txt").read_text() == "mine" and not Path("nowhere").exists()


def test_a_result_that_cannot_be_read_is_told(atss, tmp_path, monkeypatch):
    store = fill(tmp_path / "results", [TABLE2], seeds=(0,), rows=("1", "3"))
    broken = store.folders()[0]
    (broken.path / "result.json").write_text("null")
    monkeypatch.chdir(tmp_path)
    for arguments in (("export", "table2"), ("claims", "--format", "json")):
        code, output, errors = atss(*arguments)
        assert code == 0 and errors.count("\n") == 1
        assert f"run {broken.signature}: " in errors and "result.json cannot be read" in errors
    json.loads(output)


@pytest.mark.slow
def test_verify_needs_neither_torch_nor_pycocotools(original):
    blocked = ("torch", "torchvision", "pycocotools", "ray", "mlflow")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "from reports import coco_bootstrap\n"
        f"coco_bootstrap.RESAMPLES = {coco_bootstrap.RESAMPLES}\n"
        "from orchestration.commands.archive import verify\n"
        f"verify({str(original)!r})"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "24 of 24 cells stand" in done.stdout, done.stderr
