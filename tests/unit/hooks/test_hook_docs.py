"""No hook without documentation, none without a test, and no page that tells of yesterday's hooks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from newbon_core.hooks import docs

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "hooks.md"
HOOKS = sorted(docs.hook_specs())


def test_the_page_is_made_from_the_specs_as_they_are():
    assert PAGE.read_text() == docs.page(), "run: python -m newbon_core.hooks.docs docs/hooks.md"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_heading_and_its_exact_signature(hook):
    section = PAGE.read_text().partition(f"\n## {hook}\n")[2].partition("\n## ")[0]
    assert f"`{docs.signature(hook)}`" in section
    assert [title for title in docs.TAIL if f"- *{title}*: " in section] == list(docs.TAIL)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_test_named_after_it(hook):
    named = re.compile(rf"def test_{hook}\w*\(")
    assert named.search((Path(__file__).parent / "test_hooks.py").read_text()), f"there is no test_{hook}… in it"


def test_a_docstring_without_its_tail_is_refused():
    with pytest.raises(ValueError, match="ends with Called from, May block"):
        docs._split("Do something.\n\n*Called from*: the main.")
