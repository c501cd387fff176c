"""What is written beside the code holds: decisions are numbered, links lead somewhere, CI skips no test unseen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("*/Documentation/*.md")]


def test_every_decision_has_a_number_of_its_own():
    decisions = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Decisions")[2]
    numbers = [int(number) for number in re.findall(r"^(\d+)\. \*\*", decisions, re.MULTILINE)]
    assert len(numbers) >= 20
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(document):
    links = re.findall(r"\]\(([^)\s#]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing, f"{document.name} links to what is not there: {', '.join(missing)}"


def test_what_a_test_needs_is_never_skipped_in_ci():
    """`missing` and `needs_command` fail with CI=true; a bare skip would not."""
    bare = re.compile(r"pytest\.(skip|importorskip|xfail)\b")
    tests = [path for path in (ROOT / "Testing").rglob("*.py") if path.name not in ("missing.py", Path(__file__).name)]
    found = sorted(path.name for path in tests if bare.search(path.read_text(encoding="utf-8")))
    assert not found, f"Let Testing/Unit/missing.py say what is missing, in: {', '.join(found)}"
