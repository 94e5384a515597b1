"""Sealed results: whatever is changed in an archive is found, and for the right reason."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from made_up_folder import RECIPE, fill

from detector.metrics import HEADINGS
from experiments import TABLES
from experiments.experiment import Row, Table
from orchestration.archive import Verification, stage, verify
from orchestration.plan import setups_in
from orchestration.run_folder import Store
from reports import archive
from reports.archive import MANIFEST, require_harmless, seal, unseal

Members = dict[str, bytes]
Change = Callable[[Members], object]
TABLE2 = TABLES["table2"]
TABLE = "tables/demo-animals/table2"
PAGE, ROWS, NUMBERS = f"{TABLE}.md", f"{TABLE}.json", f"{TABLE}.csv"
CLAIMS, VERDICTS = "claims/demo-animals.json", "claims/demo-animals.md"
RESULT, RECORDS, RUN = "runs/{0}/result.json", "runs/{0}/matches.npz", "runs/{0}/run.json"


def export(root: Path, path: Path, *tables: Table, **options: Any) -> Path:
    """Fill a results folder and seal it."""
    return sealed(fill(root, tables or [TABLE2], **options), path, *tables)


def sealed(store: Store, path: Path, *tables: Table) -> Path:
    with TemporaryDirectory() as folder:
        stage(store, setups_in(store), tables or [TABLE2], Path(folder), lambda text: None)
        seal(Path(folder), {"code": {"version": "1"}}, path)
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows of Table 2, one seed."""
    folder = tmp_path_factory.mktemp("sealed")
    return export(folder / "results", folder / "table2.zip", seeds=(0,), rows=("1", "3"))


@pytest.fixture(scope="module")
def found(original: Path) -> Verification:
    return check(original)


def read(path: Path) -> Members:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(members: Members, path: Path) -> Path:
    """As they are, with whatever manifest they have."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content)
    return path


def reseal(members: Members, path: Path) -> Path:
    """What somebody does who wants a change not to be seen."""
    with TemporaryDirectory() as folder:
        for name in members.keys() - {MANIFEST}:
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(members[name])
        seal(Path(folder), {"code": {"version": "1"}}, path)
    return path


def check(path: Path) -> Verification:
    with TemporaryDirectory() as folder:
        return verify(unseal(path, Path(folder)))


def told(found: Verification) -> list[str]:
    return [str(problem) for problem in found.problems]


# Changes of an archive; {0} and {1} in a member's name stand for its runs


def place(members: Members, name: str) -> str:
    """With the signatures of the runs that are there, in the order of Table 2's rows."""
    rows = json.loads(members[ROWS])["rows"]
    names = [name for row in rows for name in row["signatures"]]
    return name.format(*(it for it in names if f"runs/{it}/run.json" in members))


def at(name: str, *keys: Any) -> Change:
    """Set an entry some levels down in JSON or arrays; the last key is its new value.

    A callable gets the old value.
    """
    *path, last, value = keys

    def change(members: Members) -> None:
        member, is_json = place(members, name), name.endswith(".json")
        data = members[member]
        content = json.loads(data) if is_json else dict(np.load(BytesIO(data)))
        inner = reduce(lambda it, key: it[key], path, content)
        inner[last] = value(inner[last]) if callable(value) else value
        members[member] = json.dumps(content).encode() if is_json else packed(content)

    return change


def packed(arrays: dict[str, Any]) -> bytes:
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def wording(name: str, old: str, new: str) -> Change:
    def change(members: Members) -> None:
        assert old.encode() in members[name]
        members[name] = members[name].replace(old.encode(), new.encode(), 1)

    return change


def without(name: str) -> Change:
    def change(members: Members) -> None:
        for member in [it for it in members if it.startswith(place(members, name))]:
            del members[member]

    return change


def swap(name: str) -> Change:
    """A member of one run for that of the other."""

    def change(members: Members) -> None:
        one, other = (place(members, name.format(run)) for run in ("{0}", "{1}"))
        members[one], members[other] = members[other], members[one]

    return change


def copied_run(members: Members) -> None:
    run = place(members, "runs/{0}")
    members |= {it.replace(run, f"runs/{'0' * 12}"): members[it] for it in members if run in it}


def twice_stated(members: Members) -> None:
    """First as it is not, then as it is: whoever reads from above sees another number."""
    head, first, *others = members[NUMBERS].decode().splitlines()
    lines = [head, first.replace(",37.0,", ",36.0,"), first, *others]
    members[NUMBERS] = ("\n".join(lines) + "\n").encode()


def more(value: float) -> float:
    """The last digits of what is printed, changed."""
    return value + 0.1


def first_is_wrong(state: Any) -> Any:
    """The best detection that is right is called wrong."""
    state[np.flatnonzero(state[:, 0, 0] == 1)[0]] = 0
    return state


def other_images(members: Members) -> None:
    """Where wrong detections are does not matter to AP; it does to its interval."""
    arrays = np.load(BytesIO(members[place(members, RECORDS)]))
    is_wrong = arrays["state"][:, 0, 0] == 0
    moved = np.where(is_wrong, (arrays["image"] + 1) % 12, arrays["image"])
    at(RECORDS, "image", moved)(members)


class Evil:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return sys.exit, ("a pickle was opened",)


TOO_RIGHT = "record: more detections"
CHANGES: dict[str, tuple[Change, str]] = {  # what -> how, and the kind and text of a problem
    **{
        f"{name} of a result": (at(RESULT, "metrics", name, more), f"number: {heading} ")
        for name, heading in HEADINGS.items()
    },
    "a result's seed": (at(RESULT, "seed", 1), "signature: seed 1"),
    "a result's run": (at(RESULT, "signature", "0" * 12), "signature: 0000"),
    "a result's time": (at(RESULT, "seconds", 900.0), "text: 15.0"),
    "a result's versions": (at(RESULT, "facts", "pycocotools", "1"), "text: 1"),
    "a state": (at(RECORDS, "state", first_is_wrong), "number: its records give"),
    "the order": (at(RECORDS, "score", lambda it: it[::-1]), "record: not in the order"),
    "the images of detections": (other_images, "table: low"),
    "a score that is none": (at(RECORDS, "score", 0, np.nan), "record: not finite"),
    "scores of words": (at(RECORDS, "score", lambda it: it.astype(str)), "record: needs floating"),
    "an object of any size": (at(RECORDS, "truth_counts", 0, True), "number: its records give"),
    "objects that count not": (at(RECORDS, "truth_counts", slice(0, 20), False), TOO_RIGHT),
    "images with too much right": (at(RECORDS, "image", lambda it: it * 0), TOO_RIGHT),
    "an index that is none": (at(RECORDS, "image", 0, 99), "record: none of"),
    "a negative index": (at(RECORDS, "category", 0, -1), "record: none of"),
    "a state that is none": (at(RECORDS, "state", 0, 7), "record: state has"),
    "an id twice": (at(RECORDS, "image_ids", 0, 2), "record: there twice"),
    "a pickle": (at(RECORDS, "score", lambda it: np.array([Evil()])), "record: Python objects"),
    "a toggle": (at(RUN, "canonical", "config", "centerness", False), "signature: another"),
    "the schedule": (at(RUN, "canonical", "recipe", "iterations", 41), "signature: another"),
    "a setup's schedule": (at(RUN, "setup", "recipe", "iterations", 41), "table: no table has"),
    "the data's fingerprint": (at(RUN, "data", "fingerprint", "e" * 64), "signature: data set"),
    "the number of images": (at(RUN, "data", "images", "val", 13), "record: integer (13,)"),
    "the classes": (at(RUN, "data", "classes", ["cat"]), "record: (1,)"),
    "a class's name": (at(RUN, "data", "classes", 0, "bird"), "text: bird"),
    "a note on the data": (at(RUN, "data", "notes", ["none"]), "text: none"),
    "an assigner": (at(RUN, "assigner", {"name": "a", "source": "b"}), "signature: assigner"),
    "a number of a table": (wording(NUMBERS, ",37.0,", ",36.0,"), "table: paper is 36"),
    "a number stated twice": (twice_stated, "table: laid out otherwise"),
    "a number of the paper": (at(ROWS, "rows", 0, "paper", "ap", 31.0), 'table: "ap": 31.0'),
    "a row's toggle": (at(ROWS, "rows", 0, "config", "scalar", False), 'table: "scalar": true'),
    "a row's label": (at(ROWS, "rows", 0, "label", "IoU"), 'table: "label": "IoU"'),
    "a table's title": (at(ROWS, "title", "Nothing"), "table: title"),
    "a row's stand-in": (
        at(ROWS, "rows", 0, "at_scale", {"demo": {"iterations": 2}}),
        'table: "at_scale": {"demo"',
    ),
    "a printed number": (wording(PAGE, "37.0", "31.0"), "text: made again it is"),
    "a printed fact": (wording("README.txt", "12 to test", "5000 to test"), "text: 5000"),
    "a printed verdict": (wording(VERDICTS, "undecided", "supported"), "text: supported"),
    "a verdict": (at(CLAIMS, 0, "verdict", "supported"), "text: H4"),
    "records of the other run": (swap("runs/{}/matches.npz"), "number: its records give"),
    "results of the other run": (swap("runs/{}/result.json"), "signature: result.json is of"),
    "configs of the other run": (swap("runs/{}/run.json"), "signature: another signature"),
    "records left out": (without(RECORDS), "record: no match records"),
    "a result left out": (without(RESULT), "record: result.json"),
    "a config left out": (without(RUN), "record: run.json"),
    "errors left out": (without("runs/{0}/insight.json"), "table: low is"),
    "a run left out": (without("runs/{0}"), "table: made again it is"),
    "a run put in": (copied_run, "signature: its config, recipe, data set and seed"),
    "a table left out": (without(ROWS), "table: no table has a result of it"),
    "a page left out": (without(PAGE), "text: missing"),
    "numbers left out": (without(NUMBERS), "text: missing"),
    "verdicts left out": (without(CLAIMS), "text: missing"),
}


def test_what_was_exported_stands(found: Verification) -> None:
    assert told(found) == []
    assert [*found.cells.values()] == [True, True]
    assert found.claims == {("demo-animals", name): ("undecided", True) for name in ("H4", "H5")}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_by_its_hash_or_for_its_reason_where_all_was_sealed_anew(
    what: str, original: Path, tmp_path: Path
) -> None:
    before, (change, expected) = read(original), CHANGES[what]
    after = dict(before)
    change(after)
    touched = {it for it in before.keys() | after.keys() if after.get(it) != before.get(it)}
    problems = unseal(write(after, tmp_path / "a.zip"), tmp_path / "members").problems
    assert touched and {(it.kind, it.where) for it in problems} == {("hash", it) for it in touched}
    anew = check(reseal(after, tmp_path / "b.zip"))
    kind, text = expected.split(": ", 1)
    assert any(text in it.text for it in anew.problems if it.kind == kind), told(anew)
    assert not [it for it in anew.problems if it.kind == "hash"]


EVIL = ("../evil.json", "/tmp/evil.json", "runs/../../evil.json", "tables/../evil.json", "..\\evil")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (at(MANIFEST, "digest", lambda it: it[::-1]), "manifest.json: its content is not what its"),
        (at(MANIFEST, "members", "README.txt", "0"), "manifest.json: its content is not what its"),
        (wording(MANIFEST, "{", '{"format": 3,'), "manifest.json: its content is not what its"),
        (at(MANIFEST, "members", "README.txt", "0"), "README.txt: its content is not what the"),
        (copied_run, f"runs/{'0' * 12}/result.json: the manifest does not list it"),
        (without("README.txt"), "README.txt: the manifest lists it, it is not there"),
        *(
            (lambda members, name=name: members.update({name: b"1"}), f"{name}: no archive holds")
            for name in ("notes.txt", "runs/0123456789ab/../evil.json", *EVIL)
        ),
    ],
)
def test_a_change_that_is_not_sealed_is_told_and_nothing_written_outside(
    change: Change, expected: str, original: Path, tmp_path: Path
) -> None:
    members = read(original)
    change(members)
    write(members, tmp_path / "a.zip")
    inside = tmp_path / "a" / "b" / "c"
    inside.mkdir(parents=True)
    problems = unseal(tmp_path / "a.zip", inside).problems
    assert any(str(it).startswith(f"hash: {expected}") for it in problems), problems
    assert not list(tmp_path.rglob("*evil*")) and not Path("/tmp/evil.json").exists()


def test_a_damaged_byte_is_found(original: Path, tmp_path: Path) -> None:
    content = original.read_bytes().replace(b"Sealed results", b"sealed results", 1)
    (tmp_path / "a.zip").write_bytes(content)
    assert told(check(tmp_path / "a.zip"))[0] == "hash: README.txt: damaged: its bytes have changed"


def test_the_digest_is_of_all_members(original: Path) -> None:
    members = read(original)
    manifest = json.loads(members.pop(MANIFEST))
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    assert manifest["members"] == hashes
    stated = manifest.pop("digest")
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    assert stated == hashlib.sha256(text.encode()).hexdigest()


# What is sealed


def test_equal_results_are_equal_bytes(original: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Wherever the folder lies, whoever exports it, whenever."""
    shutil.copytree(original.parent / "results", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    anew = sealed(Store(tmp_path / "elsewhere"), tmp_path / "a.zip")
    assert anew.read_bytes() == original.read_bytes()


def test_an_archive_tells_nothing_of_the_machine(original: Path) -> None:
    root = original.parent / "results"
    for name, content in read(original).items():
        for secret in (str(root), "/data/animals", "/home/someone", str(Path.home()) + "/"):
            assert secret.encode() not in content, name


def test_initial_weights_are_named_by_what_they_are(tmp_path: Path) -> None:
    weights = tmp_path / "start.pth"
    weights.write_bytes(b"weights")
    changed = {"weights": str(weights)}
    options = {"settings": changed, "recipe": replace(RECIPE, **changed), "rows": ("1",)}
    table = Table(name="own", rows=(Row("a", TABLE2.rows[0].config, recipe=changed),))
    paths = [
        export(tmp_path / "of-setup", tmp_path / "a.zip", seeds=(0,), **options),
        export(tmp_path / "of-row", tmp_path / "b.zip", table, seeds=(0,)),
    ]
    weights.unlink()
    named = f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    for path in paths:
        assert told(check(path)) == []
    of_setup, of_row = map(read, paths)
    run = json.loads(next(of_setup[name] for name in of_setup if name.endswith("run.json")))
    assert run["setup"]["recipe"]["weights"] == run["setup"]["settings"]["weights"] == named
    row = json.loads(of_row["tables/demo-animals/own.json"])["rows"][0]
    assert row["recipe"] == {"weights": named}


def test_a_path_in_a_label_is_refused(tmp_path: Path) -> None:
    table = Table(name="own", rows=(Row(f"as in {tmp_path / 'results'}", TABLE2.rows[0].config),))
    with pytest.raises(ValueError, match="would hold .*results, which an archive must not tell"):
        export(tmp_path / "results", tmp_path / "a.zip", table, seeds=(0,))


LONGER = Row("longer", TABLE2.rows[0].config, recipe={"iterations": 50})
OWN = Table(name="own", rows=(Row("first", TABLE2.rows[0].config), LONGER))
OTHER_NMS = {"settings": {"nms_threshold": 0.5}, "recipe": replace(RECIPE, nms_threshold=0.5)}
OTHER_NMS |= {"rows": ("1",)}


@pytest.mark.parametrize(
    ("table", "options", "where", "num_cells"),
    [
        (TABLE2, OTHER_NMS, "tables/demo-nms_threshold=0.5-animals/table2", 1),
        (OWN, {}, "tables/demo-animals/own", 12),
        (TABLES["table8"], {}, "tables/demo-animals/table8", 48),
    ],
    ids=["a dot in the setup's name", "an own table", "rows with a stand-in at this scale"],
)
def test_whatever_is_sealed_stands(
    table: Table, options: dict[str, Any], where: str, num_cells: int, tmp_path: Path
) -> None:
    found = check(export(tmp_path / "a", tmp_path / "a.zip", table, seeds=(0,), **options))
    assert told(found) == [] and list(found.tables) == [where] and len(found.cells) == num_cells


def test_runs_without_records_do_not_stand(tmp_path: Path) -> None:
    """Of a version without them, and their data set is away: numbers, but no proof."""
    store = fill(tmp_path / "results", [TABLE2], seeds=(0,), rows=("1", "3"))
    store.folders()[0].matches.unlink()
    found = check(sealed(store, tmp_path / "a.zip"))
    assert "record" in {problem.kind for problem in found.problems}
    assert [*found.cells.values()].count(False) == 1


def test_a_sealed_table_says_which_rows_are_of_other_code(tmp_path: Path) -> None:
    store = fill(tmp_path / "results", [TABLE2], seeds=(0,), rows=("1", "3", "4"))
    newer = next(it for it in store.folders() if "Scale Constraint, Point" in str(it.facts()))
    facts = newer.facts()
    newer.write("run", facts | {"code": facts["code"] | {"commit": "b" * 40}})
    path = sealed(store, tmp_path / "a.zip")
    members = read(path)
    page = members[PAGE].decode()
    assert f"a: code 0.1.0, commit {'b' * 12}, clean (most rows: 0.1.0" in page
    assert "and its change against" in page  # the report's other grids
    assert not check(path).problems
    wording(PAGE, "b" * 12, "a" * 12)(members)
    assert told(check(reseal(members, tmp_path / "b.zip")))


# Archives that mean harm


def zipped(members: Members, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(MANIFEST, members[MANIFEST])
        file.writestr("README.txt", b"0" * 10_000_000)


def twice(members: Members, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        for name in (MANIFEST, "README.txt", "README.txt"):
            file.writestr(name, members[name])


NOT_WRITTEN = "its manifest.json is not one that atss export writes"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is no zip file, or a damaged one"),
        (b"PK\x03\x04 and no more", "it is no zip file, or a damaged one"),
        ({"README.txt": b"no manifest"}, "it has no manifest.json"),
        ({MANIFEST: b"{"}, NOT_WRITTEN),
        ({MANIFEST: b"[1]"}, NOT_WRITTEN),
        ({MANIFEST: b"[" * 100_000}, NOT_WRITTEN),
        ({MANIFEST: b'{"format": 99, "members": {}}'}, "format 99, this version reads 3"),
        ({MANIFEST: b'{"format": 3, "members": []}'}, "its manifest lists no members"),
        (zipped, "members are compressed, which those of atss export never are"),
        (twice, "two members have one name"),
        ({MANIFEST: b" " * 200_000}, "a member has more than 150,000 bytes"),
    ],
)
def test_what_is_no_archive_is_refused_in_plain_words(
    content: Any, reason: str, original: Path, tmp_path: Path, monkeypatch: Any, atss: Any
) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 150_000)
    path = tmp_path / "a.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        write(content, path)
    else:
        content(read(original), path)
    text = f"atss: {path} is no archive of atss export: {reason}\n"
    assert atss("verify", str(path)) == (2, "", text)


def test_arrays_that_unpack_to_more_than_they_may_are_not_read(
    tmp_path: Path, monkeypatch: Any
) -> None:
    path = tmp_path / "matches.npz"
    monkeypatch.setattr(archive, "MOST_BYTES", 1_000_000)
    path.write_bytes(packed({"score": np.zeros(1_000_000)}))
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match="unpacked it has more than 1,000,000 bytes"):
        require_harmless(path)
    header = BytesIO()  # of ten terabytes, and nothing behind it
    described = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, described)
    write({"score.npy": header.getvalue()}, path)
    with pytest.raises(ValueError, match="score.npy is not as large as it says"):
        require_harmless(path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{", "null", "[]", '"x"', "1", '{"results": 3}', "\ud800", "NaN"]
)
@pytest.mark.parametrize(
    "name", [RUN, RESULT, "runs/{0}/insight.json", "runs/{0}/warnings.json", ROWS, CLAIMS]
)
def test_json_of_any_kind_is_a_problem_and_no_crash(
    name: str, text: str, original: Path, tmp_path: Path
) -> None:
    members = read(original)
    members[place(members, name)] = text.encode(errors="surrogatepass")
    found = told(check(reseal(members, tmp_path / "a.zip")))
    assert found or "warnings" in name, "of those there are none, and none are left"


# The commands


def test_export_and_verify_say_what_stands_and_exit_so(
    atss: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    fill(tmp_path / "results", [TABLE2], seeds=(0,), rows=("1", "3"))
    monkeypatch.chdir(tmp_path)
    code, output, _ = atss("export", "table2")
    assert code == 0 and "table2.sealed.zip: 1 table, 2 runs" in output
    digest = output.split("digest ")[1].strip()
    for wanted in (digest, digest[:12].upper()):
        code, output, errors = atss("verify", "table2.sealed.zip", "--digest", wanted)
        assert code == 0 and "2 of 2 cells stand" in output and not errors
    code, output, errors = atss("verify", "table2.sealed.zip", "--digest", "0" * 12)
    assert code == 1 and not output and f"its digest is {digest}, not 000000000000" in errors
    members = read(tmp_path / "table2.sealed.zip")
    at(RESULT, "metrics", "ap", more)(members)
    write(members, tmp_path / "changed.zip")
    code, output, errors = atss("verify", "changed.zip", "table2.sealed.zip")
    assert code == 1 and "✗" in output and output.count("✓") == 5
    assert "number: runs/" in output and "hash: runs/" in output
    assert "atss: changed.zip: 1 of 2 cells and 2 of 2 claims do not stand" in errors


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("verify results", "results is a folder; needs a file that atss export wrote"),
        ("verify notes.txt", "notes.txt is no archive of atss export: it is no zip file"),
        ("verify gone.zip", "gone.zip: no such file; needs an archive of atss export"),
        ("verify notes.txt gone.zip", "gone.zip: no such file"),
        ("verify a b --digest 00", "--digest is of one archive, got 2"),
        *(
            (f"verify notes.txt --digest {digest}", "at least the first 12")
            for digest in ("3f2a", "3f2a...", "x" * 64, "0" * 65)
        ),
        ("export table2 --to notes.txt", "needs a new file or an archive"),
        ("export table2 --to nowhere/a.zip", "there is no folder"),
        ("export table2 --out nowhere", "does not exist"),
        ("export table2", "no results for table2"),
    ],
)
def test_commands_refuse_in_a_line_what_they_cannot_use(
    arguments: str, reason: str, atss: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "results" / "runs").mkdir(parents=True)
    code, output, errors = atss(*arguments.split())
    assert code == 2 and reason in errors and errors.count("\n") == 1 and not output
    assert (tmp_path / "notes.txt").read_text() == "mine" and not Path("nowhere").exists()


@pytest.mark.parametrize("content", ["{", "[]", "null", "\udcff"])
def test_a_result_that_cannot_be_read_is_told(
    content: str, atss: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    store = fill(tmp_path / "results", [TABLE2], seeds=(0,), rows=("1", "3"))
    broken = store.folders()[0]
    (broken.path / "result.json").write_bytes(content.encode(errors="surrogateescape"))
    monkeypatch.chdir(tmp_path)
    for arguments in (("export", "table2"), ("claims", "--format", "json")):
        code, output, errors = atss(*arguments)
        assert code == 0 and errors.count("\n") == 1
        assert f"run {broken.signature}: " in errors and "result.json cannot be read" in errors
        assert "remove its folder to train it again" in errors
    json.loads(output)


@pytest.mark.slow
def test_verify_needs_neither_torch_nor_pycocotools(original: Path) -> None:
    blocked = ("torch", "torchvision", "pycocotools", "ray", "mlflow")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "from orchestration.commands.archive import verify\n"
        f"verify([{str(original)!r}])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert "2 of 2 cells stand" in done.stdout, done.stderr
