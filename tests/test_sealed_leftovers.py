"""What a newcomer met in export and verify: stand-ins, mixed code, damaged runs, wrong digests."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_folder import RECIPE, fill
from test_archive import check, read, reseal, sealed, told, write

from experiments import TABLES
from orchestration.store import RunFolder, Store
from reports.sealed.side_by_side import side_by_side
from reports.sealed.verified import absent_claims

RESULT = "result.json"


def made_with_two_versions(root: Path) -> Store:
    """Three rows of Table 2, the last of a newer commit."""
    store = fill(root, [TABLES["table2"]], seeds=(0,), rows=("1", "3", "4"))
    folder = next(it for it in store.folders() if "Scale Constraint, Point" in str(it.facts()))
    facts = folder.facts()
    folder.write("run", facts | {"code": facts["code"] | {"commit": "b" * 40}})
    return store


def test_rows_with_a_stand_in_at_this_scale_stand(tmp_path: Path) -> None:
    store = fill(tmp_path / "results", [TABLES["table8"]], seeds=(0,), recipe=RECIPE)
    found = check(sealed(store, tmp_path / "a.zip", TABLES["table8"]), is_quick=True)
    assert not found.problems and found.cells


def test_a_stand_in_of_ones_own_is_found(tmp_path: Path) -> None:
    store = fill(tmp_path / "results", [TABLES["table8"]], seeds=(0,), recipe=RECIPE)
    members = read(sealed(store, tmp_path / "a.zip", TABLES["table8"]))
    place = "tables/demo-animals/table8.json"
    content = json.loads(members[place])
    content["table"]["rows"][0]["at_scale"] = {"demo": {"backbone": "resnet50"}}
    members[place] = json.dumps(content, indent=1).encode() + b"\n"
    text = "“ResNet-101” is another detector than the paper's"
    assert any(text in it for it in told(check(reseal(members, tmp_path / "b.zip"), is_quick=True)))


def test_a_sealed_table_says_which_rows_are_of_other_code(tmp_path: Path) -> None:
    path = sealed(made_with_two_versions(tmp_path / "results"), tmp_path / "a.zip")
    page = read(path)["tables/demo-animals/table2.md"].decode()
    assert f"a: code 0.1.0, commit {'b' * 12}, clean (most rows: 0.1.0" in page
    assert "and its change against" in page  # the report's other grids
    assert not check(path, is_quick=True).problems


def test_a_row_made_by_other_code_cannot_be_passed_off(tmp_path: Path) -> None:
    members = read(sealed(made_with_two_versions(tmp_path / "results"), tmp_path / "a.zip"))
    place = "tables/demo-animals/table2.json"
    members[place] = members[place].replace(b"b" * 12, b"a" * 12)
    found = told(check(reseal(members, tmp_path / "b.zip"), is_quick=True))
    assert any("table2 says facts.code" in it for it in found)


def test_the_same_run_in_two_archives_is_called_so(tmp_path: Path) -> None:
    store = made_with_two_versions(tmp_path / "results")
    found = check(sealed(store, tmp_path / "a.zip"), is_quick=True)
    (grid,) = side_by_side({"ours": found, "copy": found})
    assert grid.blocks[0][2][2].text == "same run"


def test_claims_that_are_not_in_an_archive_are_named(tmp_path: Path) -> None:
    path = sealed(made_with_two_versions(tmp_path / "results"), tmp_path / "a.zip")
    (line,) = absent_claims(check(path, is_quick=True))
    assert line.startswith("Claims not in it: H1, ")
    assert "H17, H18, H19, H23 (about assignments" in line and "H20 (about sizes" in line


# The commands


@pytest.mark.parametrize("content", ["{", "[]", "null", "\udcff"])
def test_a_result_that_cannot_be_read_is_told(
    content: str, atss: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    store = fill(tmp_path / "results", [TABLES["table2"]], seeds=(0,), rows=("1", "3"))
    broken: RunFolder = store.folders()[0]
    (broken.path / RESULT).write_bytes(content.encode(errors="surrogateescape"))
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
    code, output, errors = atss("verify", "a.zip", "--quick", "--digest", digest[:12].upper())
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
