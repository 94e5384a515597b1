"""Sealed results: whatever is changed in an archive is found, and for the right reason."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_folder import RECIPE, fill

from experiments import TABLES
from experiments.experiment import Row, Table
from orchestration.plan import setups_in
from orchestration.run_folder import Store
from orchestration.sealing import stage
from orchestration.verifying import Verification, checked_grid, side_by_side, verify
from reports import archive
from reports.archive import MANIFEST, require_harmless, seal, unseal

Members = dict[str, bytes]
Change = Callable[[Members], None]
TABLE = "tables/demo-animals/table2"


def export(root: Path, path: Path, *tables: Table, **options: Any) -> Path:
    """Fill a results folder and seal it."""
    store = fill(root, tables or [TABLES["table2"]], **options)
    return sealed(store, path, *tables)


def sealed(store: Any, path: Path, *tables: Table) -> Path:
    with scratch(path.parent) as folder:
        chosen = list(tables or [TABLES["table2"]])
        stage(store, setups_in(store), chosen, folder, lambda text: None)
        seal(folder, {"code": {"version": "1"}}, path)
    return path


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    folder = parent / "scratch"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows of Table 2, one seed."""
    folder = tmp_path_factory.mktemp("sealed")
    return export(folder / "results", folder / "table2.zip", seeds=(0,), rows=("1", "3"))


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
    with scratch(path.parent) as folder:
        for name, content in members.items():
            if name != MANIFEST:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        seal(folder, {"code": {"version": "1"}}, path)
    return path


def check(path: Path) -> Verification:
    with scratch(path.parent) as folder:
        return verify(unseal(path, folder))


def told(found: Verification) -> list[str]:
    return [str(problem) for problem in found.problems]


def runs_of(members: Members) -> list[str]:
    """Signatures, in the order of Table 2's rows."""
    rows = json.loads(members[f"{TABLE}.json"])["rows"]
    return [
        name for row in rows for name in row["signatures"] if f"runs/{name}/run.json" in members
    ]


def in_json(name: str, edit: Callable[[Any], None]) -> Change:
    """Change a JSON member; {0} and {1} stand for the two runs."""

    def change(members: Members) -> None:
        place = name.format(*runs_of(members))
        content = json.loads(members[place])
        edit(content)
        members[place] = json.dumps(content, indent=1).encode() + b"\n"

    return change


def in_arrays(name: str, edit: Callable[[dict[str, Any]], None]) -> Change:
    def change(members: Members) -> None:
        place = name.format(*runs_of(members))
        with np.load(BytesIO(members[place])) as content:
            arrays = dict(content)
        edit(arrays)
        members[place] = packed(arrays)

    return change


def packed(arrays: dict[str, Any]) -> bytes:
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def in_text(name: str, old: str, new: str) -> Change:
    def change(members: Members) -> None:
        text = members[name].decode()
        assert old in text
        members[name] = text.replace(old, new, 1).encode()

    return change


def put(*keys: Any, value: Any) -> Callable[[Any], None]:
    """Set an entry some levels down; a callable gets the old value."""

    def edit(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value(content[keys[-1]]) if callable(value) else value

    return edit


def more(value: float) -> float:
    """The last digits of what is printed, changed."""
    return value + 0.1


def drop(name: str) -> Change:
    def change(members: Members) -> None:
        for place in [it for it in members if it.startswith(name.format(*runs_of(members)))]:
            del members[place]

    return change


def swap(name: str) -> Change:
    """A member of one run for that of the other."""

    def change(members: Members) -> None:
        one, other = (name.format(run) for run in runs_of(members))
        members[one], members[other] = members[other], members[one]

    return change


def first_true(arrays: dict[str, Any]) -> None:
    """The best detection that is right is called wrong."""
    place = np.flatnonzero(arrays["state"][:, 0, 0] == 1)[0]
    arrays["state"][place] = 0


def other_order(arrays: dict[str, Any]) -> None:
    arrays["score"] = arrays["score"][::-1].copy()


def other_image(arrays: dict[str, Any]) -> None:
    """Where wrong detections are does not matter to AP; it does to its interval."""
    is_false = arrays["state"][:, 0, 0] == 0
    arrays["image"][is_false] = (arrays["image"][is_false] + 1) % len(arrays["image_ids"])


RESULT, RECORDS, RUN = "runs/{0}/result.json", "runs/{0}/matches.npz", "runs/{0}/run.json"
CHANGES: dict[str, tuple[Change, str, str]] = {
    # what is changed -> how, the kind of problem, a part of its text
    **{
        f"{name} of a result": (
            in_json(RESULT, put("metrics", name, value=more)),
            "number",
            f"{heading} ",
        )
        for name, heading in (
            *(("ap", "AP"), ("ap50", "AP50"), ("ap75", "AP75")),
            *(("ap_s", "AP_S"), ("ap_m", "AP_M"), ("ap_l", "AP_L")),
        )
    },
    "a result's seed": (in_json(RESULT, put("seed", value=1)), "signature", "seed 1"),
    "a result's run": (in_json(RESULT, put("signature", value="0" * 12)), "signature", "0000"),
    "a result's time": (in_json(RESULT, put("seconds", value=900.0)), "text", "15.0"),
    "a result's versions": (in_json(RESULT, put("facts", "pycocotools", value="1")), "text", "1"),
    "a state of the records": (in_arrays(RECORDS, first_true), "number", "its records give"),
    "the order of detections": (in_arrays(RECORDS, other_order), "record", "not in the order"),
    "the images of detections": (in_arrays(RECORDS, other_image), "table", "low"),
    "a score of another kind": (
        in_arrays(RECORDS, put("score", 0, value=np.nan)),
        "record",
        "not finite",
    ),
    "an object to be found at any size": (
        in_arrays(RECORDS, put("truth_counts", 0, value=True)),
        "number",
        "its records give",
    ),
    "an object that counts not": (
        in_arrays(RECORDS, put("truth_counts", slice(0, 20), value=False)),
        "record",
        "more detections are right",
    ),
    "an image with more right than there is": (
        in_arrays(RECORDS, put("image", value=lambda it: it * 0)),
        "record",
        "more detections are right",
    ),
    "an index that is none": (in_arrays(RECORDS, put("image", 0, value=99)), "record", "none of"),
    "a negative index": (in_arrays(RECORDS, put("category", 0, value=-1)), "record", "none of"),
    "a state that is none": (in_arrays(RECORDS, put("state", 0, value=7)), "record", "state has"),
    "an id twice": (in_arrays(RECORDS, put("image_ids", 0, value=2)), "record", "there twice"),
    "a toggle": (
        in_json(RUN, put("canonical", "config", "centerness", value=False)),
        "signature",
        "another signature",
    ),
    "the schedule": (
        in_json(RUN, put("canonical", "recipe", "iterations", value=41)),
        "signature",
        "another signature",
    ),
    "a setup's schedule": (
        in_json(RUN, put("setup", "recipe", "iterations", value=41)),
        "table",
        "no table has a result of it",
    ),
    "the data's fingerprint": (
        in_json(RUN, put("data", "fingerprint", value="e" * 64)),
        "signature",
        "data set",
    ),
    "the number of images": (
        in_json(RUN, put("data", "images", "val", value=13)),
        "record",
        "needs integer (13,)",
    ),
    "the classes": (in_json(RUN, put("data", "classes", value=["cat"])), "record", "(1,)"),
    "a class's name": (in_json(RUN, put("data", "classes", 0, value="bird")), "text", "bird"),
    "a note on the data": (in_json(RUN, put("data", "notes", value=["none"])), "text", "none"),
    "an assigner's source": (
        in_json(RUN, lambda content: content.update(assigner={"name": "a", "source": "b"})),
        "signature",
        "assigner",
    ),
    "a number of a table": (in_text(f"{TABLE}.csv", ",37.0,", ",36.0,"), "table", "paper is 36"),
    "a number of the paper": (
        in_json(f"{TABLE}.json", put("rows", 0, "paper", "ap", value=31.0)),
        "table",
        "rows[0].paper.ap is 31.0, the paper has 37.0",
    ),
    "a row's toggle": (
        in_json(f"{TABLE}.json", put("rows", 0, "config", "scalar", value=False)),
        "table",
        "the paper has true",
    ),
    "a row's label": (
        in_json(f"{TABLE}.json", put("rows", 0, "label", value="IoU")),
        "table",
        "rows[0].label is IoU",
    ),
    "a table's title": (in_json(f"{TABLE}.json", put("title", value="Nothing")), "table", "title"),
    "a row's stand-in": (
        in_json(f"{TABLE}.json", put("rows", 0, "at_scale", value={"demo": {"iterations": 2}})),
        "table",
        "rows[0].at_scale",
    ),
    "a printed number": (in_text(f"{TABLE}.md", "37.0", "31.0"), "text", "made again it is"),
    "a printed fact": (in_text("README.txt", "12 to test", "5000 to test"), "text", "5000"),
    "a printed verdict": (
        in_text("claims/demo-animals.md", "undecided", "supported"),
        "text",
        "supported",
    ),
    "a verdict": (
        in_json("claims/demo-animals.json", put(0, "verdict", value="supported")),
        "text",
        "H4",
    ),
    "records of the other run": (swap("runs/{}/matches.npz"), "number", "its records give"),
    "results of the other run": (swap("runs/{}/result.json"), "signature", "result.json is of"),
    "configs of the other run": (swap("runs/{}/run.json"), "signature", "another signature"),
    "records left out": (drop(RECORDS), "record", "no match records"),
    "a result left out": (drop(RESULT), "record", "result.json"),
    "a config left out": (drop(RUN), "record", "run.json"),
    "errors left out": (drop("runs/{0}/insight.json"), "table", "AP.low is"),
    "a run left out": (drop("runs/{0}"), "table", "made again it is"),
    "a table left out": (drop(f"{TABLE}.json"), "table", "no table has a result of it"),
    "a page left out": (drop(f"{TABLE}.md"), "text", "missing"),
    "numbers left out": (drop(f"{TABLE}.csv"), "text", "missing"),
    "verdicts left out": (drop("claims/demo-animals.json"), "text", "missing"),
}


def test_what_was_exported_stands(original: Path) -> None:
    found = check(original)
    assert told(found) == []
    assert len(found.cells) == 2 and not any(cell.problems for cell in found.cells)
    assert {claim.name for claim in found.claims} == {"H4", "H5"}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_by_its_hash(what: str, original: Path, tmp_path: Path) -> None:
    before = read(original)
    after = dict(before)
    CHANGES[what][0](after)
    touched = {name for name in before if after.get(name) != before[name]}
    assert touched
    with scratch(tmp_path) as folder:
        problems = unseal(write(after, tmp_path / "changed.zip"), folder).problems
    assert {problem.where for problem in problems} == touched
    assert {problem.kind for problem in problems} == {"hash"}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_found_for_its_reason_where_all_was_sealed_anew(
    what: str, original: Path, tmp_path: Path
) -> None:
    members = read(original)
    change, kind, text = CHANGES[what]
    change(members)
    found = check(reseal(members, tmp_path / "changed.zip"))
    reasons = [problem for problem in found.problems if problem.kind == kind]
    assert any(text in problem.text for problem in reasons), told(found)
    assert not [problem for problem in found.problems if problem.kind == "hash"]
    assert found.problems
    assert found.digest != check(original).digest


def test_equal_results_are_equal_bytes(original: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Wherever the folder lies, whoever exports it, whenever."""
    before = Store(original.parent / "results")
    shutil.copytree(before.root, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert sealed(Store(tmp_path / "elsewhere"), tmp_path / "a.zip").read_bytes() == (
        original.read_bytes()
    )


def test_an_archive_tells_nothing_of_the_machine(original: Path) -> None:
    root = original.parent / "results"
    for name, content in read(original).items():
        for secret in (str(root), "/data/animals", "/home/someone", str(Path.home()) + "/"):
            assert secret.encode() not in content, name


def test_initial_weights_are_named_by_what_they_are(tmp_path: Path) -> None:
    weights = tmp_path / "start.pth"
    weights.write_bytes(b"weights")
    recipe = replace(RECIPE, weights=str(weights))
    path = export(
        tmp_path / "results",
        tmp_path / "a.zip",
        recipe=recipe,
        settings={"weights": str(weights)},
        seeds=(0,),
        rows=("1",),
    )
    weights.unlink()
    assert told(check(path)) == []
    setup = json.loads(read(path)[next(it for it in read(path) if it.endswith("/run.json"))])[
        "setup"
    ]
    named = f"sha256:{hashlib.sha256(b'weights').hexdigest()}"
    assert setup["recipe"]["weights"] == setup["settings"]["weights"] == named


def test_a_path_in_a_label_is_refused(tmp_path: Path) -> None:
    label = f"as in {tmp_path / 'results'}"
    table = Table(name="own", rows=(Row(label, TABLES["table2"].rows[0].config),))
    with pytest.raises(ValueError, match="would hold .*results, which an archive must not tell"):
        export(tmp_path / "results", tmp_path / "a.zip", table, seeds=(0,))


def test_a_setup_with_a_dot_in_its_name_stands(tmp_path: Path) -> None:
    changed = {"settings": {"nms_threshold": 0.5}, "recipe": replace(RECIPE, nms_threshold=0.5)}
    path = export(tmp_path / "results", tmp_path / "a.zip", seeds=(0,), rows=("1",), **changed)
    found = check(path)
    assert told(found) == [] and list(found.tables) == [
        "tables/demo-nms_threshold=0.5-animals/table2"
    ]


def test_an_own_table_stands(tmp_path: Path) -> None:
    rows = [Row("first", TABLES["table2"].rows[0].config)]
    rows.append(Row("longer", rows[0].config, recipe={"iterations": 50}))
    path = export(tmp_path / "results", tmp_path / "a.zip", Table(name="own", rows=tuple(rows)))
    found = check(path)
    assert told(found) == [] and len(found.cells) == 12 and not found.claims


def test_the_digest_is_of_all_members(original: Path) -> None:
    members = read(original)
    manifest = json.loads(members.pop(MANIFEST))
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    assert manifest["members"] == hashes
    stated = manifest.pop("digest")
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    assert stated == hashlib.sha256(text.encode()).hexdigest() == check(original).digest


@pytest.mark.parametrize("place", ["digest", "members"])
def test_a_changed_manifest_is_found(place: str, original: Path, tmp_path: Path) -> None:
    def edit(content: Any) -> None:
        if place == "digest":
            content["digest"] = content["digest"][::-1]
        else:
            content["members"]["README.txt"] = "0" * 64

    members = read(original)
    in_json(MANIFEST, edit)(members)
    found = told(check(write(members, tmp_path / "a.zip")))
    assert "hash: manifest.json: its content is not what its digest says" in found


def test_what_is_added_is_found(original: Path, tmp_path: Path) -> None:
    members = read(original)
    run = runs_of(members)[0]
    copied = {f"runs/{'0' * 12}/{Path(n).name}": c for n, c in members.items() if run in n}
    found = told(check(write({**members, **copied}, tmp_path / "a.zip")))
    assert "hash: runs/000000000000/result.json: the manifest does not list it" in found
    found = told(check(reseal({**members, **copied}, tmp_path / "b.zip")))
    assert any(it.startswith("signature: runs/000000000000") for it in found)
    strange = {**members, "notes.txt": b"hello"}
    found = told(check(write(strange, tmp_path / "c.zip")))
    assert found == ["hash: notes.txt: no archive holds such a member"]


def test_a_damaged_byte_is_found(original: Path, tmp_path: Path) -> None:
    content = original.read_bytes()
    place = content.index(b"Sealed results")
    path = tmp_path / "a.zip"
    path.write_bytes(content[:place] + b"s" + content[place + 1 :])
    assert told(check(path))[0] == ("hash: README.txt: damaged: its bytes have changed")


def test_runs_without_records_do_not_stand(tmp_path: Path) -> None:
    """Of a version without them, and their data set is away: numbers, but no proof."""
    store = fill(tmp_path / "results", [TABLES["table2"]], seeds=(0,), rows=("1", "3"))
    old = store.folders()[0]
    old.matches.unlink()
    found = check(sealed(store, tmp_path / "a.zip"))
    assert "record" in {problem.kind for problem in found.problems}
    assert [bool(cell.problems) for cell in found.cells].count(True) == 1


def made_with_two_versions(root: Path) -> Store:
    """Three rows of Table 2, the last of a newer commit."""
    store = fill(root, [TABLES["table2"]], seeds=(0,), rows=("1", "3", "4"))
    folder = next(it for it in store.folders() if "Scale Constraint, Point" in str(it.facts()))
    facts = folder.facts()
    folder.write("run", facts | {"code": facts["code"] | {"commit": "b" * 40}})
    return store


def test_rows_with_a_stand_in_at_this_scale_stand(tmp_path: Path) -> None:
    store = fill(tmp_path / "results", [TABLES["table8"]], seeds=(0,), recipe=RECIPE)
    found = check(sealed(store, tmp_path / "a.zip", TABLES["table8"]))
    assert not found.problems and found.cells


def test_a_sealed_table_says_which_rows_are_of_other_code(tmp_path: Path) -> None:
    path = sealed(made_with_two_versions(tmp_path / "results"), tmp_path / "a.zip")
    members = read(path)
    page = members[f"{TABLE}.md"].decode()
    assert f"a: code 0.1.0, commit {'b' * 12}, clean (most rows: 0.1.0" in page
    assert "and its change against" in page  # the report's other grids
    assert not check(path).problems
    members[f"{TABLE}.md"] = members[f"{TABLE}.md"].replace(b"b" * 12, b"a" * 12)
    assert told(check(reseal(members, tmp_path / "b.zip")))


# Archives that mean harm


def not_an_archive(path: Path) -> str:
    with (
        pytest.raises(ValueError, match="is no archive of atss export") as error,
        scratch(path.parent) as folder,
    ):
        unseal(path, folder)
    return str(error.value)


def test_nothing_is_written_outside(original: Path, tmp_path: Path) -> None:
    evil = {"../evil.json": b"1", "/tmp/evil.json": b"1", "runs/../../evil.json": b"1"}
    evil |= {"runs/0123456789ab/../x.json": b"1", "tables/../evil.json": b"1", "..\\evil": b"1"}
    members = {**read(original), **evil}
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    found = told(check(write(members, inner / "evil.zip")))
    assert len([it for it in found if it.endswith("no archive holds such a member")]) == len(evil)
    assert [path.name for path in tmp_path.rglob("*") if "evil" in path.name] == ["evil.zip"]


def test_bombs_are_refused(original: Path, tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(MANIFEST, read(original)[MANIFEST])
        file.writestr("README.txt", b"0" * 10_000_000)
    assert "compressed" in not_an_archive(path)
    with zipfile.ZipFile(path, "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(MANIFEST, read(original)[MANIFEST])
        file.writestr("README.txt", b"1")
        file.writestr("README.txt", b"2")
    assert "two members have one name" in not_an_archive(path)
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    assert "more than 1,000 bytes" in not_an_archive(original)


def test_arrays_that_unpack_to_more_than_they_may_are_not_read(
    tmp_path: Path, monkeypatch: Any
) -> None:
    path = tmp_path / "matches.npz"
    monkeypatch.setattr("reports.archive.MOST_BYTES", 1_000_000)
    path.write_bytes(packed({"score": np.zeros(1_000_000)}))
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match="unpacked it has more than 1,000,000 bytes"):
        require_harmless(path)
    with zipfile.ZipFile(path, "w") as file:  # a header of ten terabytes, and nothing behind it
        header = BytesIO()
        described = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        np.lib.format.write_array_header_1_0(header, described)
        file.writestr("score.npy", header.getvalue())
    with pytest.raises(ValueError, match="score.npy is not as large as it says"):
        require_harmless(path)
    path.write_bytes(b"no zip")
    with pytest.raises(zipfile.BadZipFile):
        require_harmless(path)


class Evil:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("evil"),)


def test_pickles_are_not_opened(original: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    members = read(original)
    members[RECORDS.format(*runs_of(members))] = packed({"score": np.array([Evil()], dtype=object)})
    found = told(check(reseal(members, tmp_path / "a.zip")))
    assert any("Python objects" in it for it in found)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{", "null", "[]", '"x"', "1", '{"results": 3}', "\ud800", "NaN"]
)
@pytest.mark.parametrize("name", ["run", "result", "insight", "warnings", "table", "claims"])
def test_json_of_any_kind_is_a_problem_and_no_crash(
    name: str, text: str, original: Path, tmp_path: Path
) -> None:
    members = read(original)
    places = {"table": f"{TABLE}.json", "claims": "claims/demo-animals.json"}
    place = places.get(name, f"runs/{runs_of(members)[0]}/{name}.json")
    members[place] = text.encode(errors="surrogatepass")
    found = told(check(reseal(members, tmp_path / "a.zip")))
    assert found or name == "warnings", "of those there are none, and none are left"


@pytest.mark.slow
def test_values_of_any_kind_are_a_problem_and_no_crash(original: Path, tmp_path: Path) -> None:
    """Every entry of a run and of a table, one by one, as something else."""
    members, draw = read(original), random.Random(1)
    run = runs_of(members)[0]
    for name in (f"runs/{run}/run.json", f"runs/{run}/result.json", f"{TABLE}.json"):
        content = json.loads(members[name])
        for keys in draw.sample(list(entries(content)), 15):
            changed = json.loads(members[name])
            put(*keys, value=draw.choice([None, 3, "x", [], {}, -1.5, True]))(changed)
            text = json.dumps(changed).encode()
            check(reseal({**members, name: text}, tmp_path / "a.zip"))


def entries(content: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in pairs:
        yield (*keys, key)
        if isinstance(value, dict | list):
            yield from entries(value, (*keys, key))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zip"),
        (b"PK\x03\x04 and no more", "zip"),
        ({"README.txt": b"no manifest"}, "manifest.json"),
        ({MANIFEST: b"[1]"}, ""),
        ({MANIFEST: b'{"format": 99, "members": {}}'}, "format 99, this version reads 3"),
        ({MANIFEST: b'{"format": 3, "members": []}'}, "lists no members"),
        ({MANIFEST: b"[" * 100_000}, ""),
    ],
)
def test_other_files_are_refused(content: Any, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write(content, path)
    assert reason in not_an_archive(path)


# Two archives beside each other


def test_archives_side_by_side_say_in_what_they_differ(original: Path, tmp_path: Path) -> None:
    theirs = export(
        tmp_path / "results",
        tmp_path / "theirs.zip",
        seeds=(0, 5),
        rows=("1", "3"),
        recipe=replace(RECIPE, iterations=60),
        num_images=14,
    )
    found = {"ours": check(original), "theirs": check(theirs)}
    (grid,) = side_by_side(found)
    notes = "\n".join(grid.notes)
    assert "A: ours, scale demo on animals." in notes
    assert "Not comparable as they stand" in notes
    assert "Differ in schedule: iterations: A 40; B 60." in notes
    assert "Differ in seeds: A 0; B 0 and 5." in notes
    assert "Differ in test images: A 12 (" in notes
    first = grid.blocks[0]
    assert [cells[1].text for cells in first] == ["A", "B", "B − A"]
    values = [it.cells[0].value for it in found.values()]
    assert first[2][2].text.startswith(f"{values[1] - values[0]:+.1f}".replace("-", "−"))


def test_a_difference_of_other_seeds_is_that_of_the_means_and_has_no_interval(
    original: Path, tmp_path: Path
) -> None:
    more_seeds = export(tmp_path / "results", tmp_path / "a.zip", seeds=(0, 1), rows=("1", "3"))
    found = {"one": check(original), "two": check(more_seeds)}
    (grid,) = side_by_side(found)
    one, two = (it.cells[0].value or 0.0 for it in found.values())
    expected = f"{two - one:+.1f}".replace("-", "−")
    assert grid.blocks[0][2][2].text == expected and abs(two - one) > 0.1


def test_equal_archives_differ_in_nothing(original: Path) -> None:
    found = check(original)
    (grid,) = side_by_side({"ours": found, "copy": found})
    text = "They differ in nothing that is recorded of data, schedule, evaluation and versions."
    assert text in grid.notes
    assert grid.blocks[0][2][2].text == "same run"
    assert grid.blocks[1][0][2].text == "–"  # no run was asked for in this row


def test_a_row_that_is_another_detector_is_named(tmp_path: Path) -> None:
    rows = TABLES["table2"].rows
    paths = [
        export(
            tmp_path / f"results{place}",
            tmp_path / f"{place}.zip",
            Table(name="own", rows=(Row("mine", row.config),)),
            seeds=(0,),
        )
        for place, row in enumerate((rows[0], rows[2]))
    ]
    (grid,) = side_by_side({path.name: check(path) for path in paths})
    assert "“mine” is not the same detector in each." in grid.notes


def test_cells_show_why_they_fail(original: Path, tmp_path: Path) -> None:
    members = read(original)
    in_json(RESULT, put("metrics", "ap", value=more))(members)
    found = check(reseal(members, tmp_path / "a.zip"))
    grid = checked_grid(TABLE, found.tables[TABLE], found.cells)
    texts = [cells[1].text for cells in grid.blocks[0]]
    assert "✗" in texts[0] and texts[2].endswith("✓") and texts[1] == "–"
    assert any("AP " in note and "its records give" in note for note in grid.notes)


# The commands


def test_export_and_verify_say_what_stands_and_exit_so(
    atss: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    fill(tmp_path / "results", [TABLES["table2"]], seeds=(0,), rows=("1", "3"))
    monkeypatch.chdir(tmp_path)
    code, output, _ = atss("export", "table2")
    assert code == 0 and "table2.sealed.zip: 1 table, 2 runs" in output
    digest = output.split("digest ")[1].strip()
    code, output, errors = atss("verify", "table2.sealed.zip", "--digest", digest)
    assert code == 0 and "2 of 2 cells stand" in output and not errors
    code, _, errors = atss("verify", "table2.sealed.zip", "--digest", "0" * 64)
    assert code == 1 and f"its digest is {digest}, not {'0' * 64}" in errors
    members = read(tmp_path / "table2.sealed.zip")
    in_json(RESULT, put("metrics", "ap", value=more))(members)
    write(members, tmp_path / "changed.zip")
    code, output, errors = atss("verify", "changed.zip", "table2.sealed.zip")
    assert code == 1 and "side by side" in output
    assert "number: runs/" in output and "hash: runs/" in output
    assert "atss: changed.zip: 1 of 2 cells and 2 of 2 claims do not stand" in errors


def test_commands_refuse_in_a_line_what_they_cannot_use(
    atss: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "results" / "runs").mkdir(parents=True)
    for arguments, reason in (
        (("verify", "notes.txt"), "notes.txt is no archive of atss export"),
        (("verify", "gone.zip"), "gone.zip: no such file; needs an archive of atss export"),
        (("verify", "a", "b", "--digest", "00"), "--digest is of one archive, got 2"),
        (("export", "table2", "--to", "notes.txt"), "needs a new file or an archive"),
        (("export", "table2", "--out", "nowhere"), "does not exist"),
        (("export", "table2"), "no results for table2"),
    ):
        code, _, errors = atss(*arguments)
        assert code == 2 and reason in errors and errors.count("\n") == 1, arguments
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("content", ["{", "[]", "null", "\udcff"])
def test_a_result_that_cannot_be_read_is_told(
    content: str, atss: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    store = fill(tmp_path / "results", [TABLES["table2"]], seeds=(0,), rows=("1", "3"))
    broken = store.folders()[0]
    (broken.path / "result.json").write_bytes(content.encode(errors="surrogateescape"))
    monkeypatch.chdir(tmp_path)
    for arguments in (("export", "table2"), ("claims", "--format", "json")):
        code, output, errors = atss(*arguments)
        assert code == 0 and errors.count("\n") == 1
        assert f"run {broken.signature}: " in errors and "result.json cannot be read" in errors
        assert "`atss reproduce --data" in errors and "trains it again" in errors
    json.loads(output)


def test_a_digest_is_looked_at_first(atss: Any, tmp_path: Path, monkeypatch: Any) -> None:
    fill(tmp_path / "results", [TABLES["table2"]], seeds=(0,), rows=("1", "3"))
    monkeypatch.chdir(tmp_path)
    digest = atss("export", "table2", "--to", "a.zip")[1].split("digest ")[1].strip()
    code, output, errors = atss("verify", "a.zip", "--digest", digest[:12].upper())
    assert code == 0 and "2 of 2 cells stand" in output and not errors
    code, output, errors = atss("verify", "a.zip", "--digest", "0" * 12)
    assert code == 1 and not output and f"its digest is {digest}, not 000000000000" in errors
    for wrong in ("3f2a", "3f2a...", "x" * 64, digest + "0", ""):
        code, output, errors = atss("verify", "a.zip", "--digest", wrong)
        assert code == 2 and not output and "at least the first 12" in errors, wrong


def test_what_is_no_archive_is_refused_in_plain_words(
    atss: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    store = fill(tmp_path / "results", [TABLES["table2"]], seeds=(0,), rows=("1",))
    path = sealed(store, tmp_path / "a.zip")
    members = read(path)
    members.pop("manifest.json")
    monkeypatch.chdir(tmp_path)
    write(members, tmp_path / "without.zip")
    write({"manifest.json": b"{"}, tmp_path / "broken.zip")
    (tmp_path / "text.zip").write_text("no zip")
    for arguments, reason in (
        (("verify", "results"), "results is a folder; needs a file that atss export wrote"),
        (("verify", "a.zip", "t6.zip"), "t6.zip: no such file"),
        (("verify", "without.zip"), "atss export: it has no manifest.json"),
        (("verify", "broken.zip"), "its manifest.json is not one that atss export writes"),
        (("verify", "text.zip"), "it is no zip file, or a damaged one"),
        (("export", "table2", "--to", "nowhere/a.zip"), "there is no folder"),
    ):
        code, output, errors = atss(*arguments)
        assert code == 2 and reason in errors and errors.count("\n") == 1, errors
        assert not output
    assert not (tmp_path / "nowhere").exists()


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
