"""Which run a person means: by its signature, the beginning of one, a row's name, or a part of it.

Rows are named as they are printed ("Table 2: ..., Box", "Box"), each also with " - seed 1" behind.
What means several runs is refused with their list.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orchestration.run_folder import RunFolder, Store

LISTED = 5  # runs in a line that refuses one
Facts = Mapping[str, Any]
NOTHING: Mapping[str, Facts] = MappingProxyType({})


def find_run(store: Store, wanted: str, awaited: Mapping[str, Facts] = NOTHING) -> RunFolder:
    """The only run that is meant; ValueError with a list where there is none, or several.

    awaited: signature -> facts of runs that have not begun, but may be meant.
    """
    begun = {folder.signature: folder.facts() for folder in store.folders()}
    known: dict[str, Facts] = {**awaited, **begun}
    names = {signature: _names(facts) for signature, facts in known.items()}
    text = wanted.strip().lower()
    meanings = (
        lambda signature: signature == text,
        lambda signature: text in names[signature],
        lambda signature: signature.startswith(text),
        lambda signature: any(text in name for name in names[signature]),
    )
    found = next((hits for is_meant in meanings if (hits := list(filter(is_meant, names)))), [])
    if not text or not names:
        found = []
    if len(found) == 1:
        return store.folder(found[0])
    if not names:
        raise ValueError(
            f"no run '{wanted}' in {store.root}, which holds none; --out names another"
        )
    problem = f"means {len(found)} runs of" if found else "is no run of"
    hint = ", and a signature, or its beginning, one" if found else _hint(wanted, names)
    listed = _list({name: known[name] for name in found or names})
    raise ValueError(f"'{wanted}' {problem} {store.root}{hint}; there are {listed}")


def _hint(wanted: str, names: Mapping[str, list[str]]) -> str:
    """What may have been meant instead."""
    if Path(wanted).exists():
        return " (it is a file or folder; a RUN or --weights FILE is needed before images)"
    known = [*names, *sum(names.values(), [])]
    words = [word for name in known for word in re.findall(r"\w{3,}", name)]
    near = get_close_matches(wanted.strip().lower(), [*known, *words], n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _names(facts: Facts) -> list[str]:
    """All that a run is called, in small letters: "table 2: box", "box", each with its seed."""
    rows = [str(row).lower() for row in facts.get("rows", [])]
    names = [name for row in rows for name in (row, row.partition(": ")[2])]
    return names + [f"{name} - seed {facts.get('seed', 0)}" for name in names]


def _list(known: Mapping[str, Facts]) -> str:
    shown = [
        f"{signature} ({facts.get('name')}, {facts.get('setup', {}).get('name')})"
        for signature, facts in list(known.items())[:LISTED]
    ]
    more = len(known) - len(shown)
    return "; ".join(shown) + (f"; and {more} more: atss status lists them" if more > 0 else "")
