"""Label selectors of lists: ``tier=web,env!=test,zone in (a,b),disk,!old``; all terms must hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from newbon_core.schema.grammar import Wrong, check_label_key, check_label_value

Operator = Literal["=", "!=", "in", "not in", "exists", "not exists"]

MAX_SELECTOR_CHARS = 4096
_TERM = re.compile(
    r"""\s*(?:
        !\s*(?P<absent>[^\s,=!()]+)
      | (?P<key>[^\s,=!()]+)
        (?: \s*(?P<compare>==|=|!=)\s*(?P<value>[^\s,=!()]*)
          | \s+(?P<set>in|not\s+in|notin)\s*\((?P<values>[^()]*)\)
        )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)


class SelectorError(ValueError):
    """A selector that cannot be read; the text is a sentence with the place."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one label. A missing label is unequal to every value and in no set."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it."""
        value = labels.get(self.key)
        if self.operator in ("=", "in"):
            return value is not None and value in self.values
        if self.operator in ("!=", "not in"):
            return value is None or value not in self.values
        return (value is not None) == (self.operator == "exists")

    def __str__(self) -> str:
        if self.operator in ("exists", "not exists"):
            return self.key if self.operator == "exists" else f"!{self.key}"
        if self.operator in ("=", "!="):
            return f"{self.key}{self.operator}{self.values[0]}"
        return f"{self.key} {self.operator} ({','.join(self.values)})"


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its terms must hold; without any it matches everything. ``str`` gives back a text of the same meaning."""

    terms: tuple[Term, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(term.matches(labels) for term in self.terms)

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.terms)


def parse_selector(text: str) -> Selector:
    """Read ``a=b,c!=d,e in (x,y),f,!g``. An empty text selects everything. Raises SelectorError."""
    if len(text) > MAX_SELECTOR_CHARS:
        raise SelectorError(f"the selector has {len(text)} characters: expected at most {MAX_SELECTOR_CHARS}")
    terms: list[Term] = []
    at = 0
    while text.strip() and at < len(text):
        found = _TERM.match(text, at)
        if found is None:
            raise SelectorError(
                f"the selector cannot be read at {text[at : at + 40]!r} (character {at + 1}): "
                "expected key, !key, key=value, key!=value, key in (a,b) or key not in (a,b), separated by commas"
            )
        terms.append(_term(found))
        at = found.end()
    if text.rstrip().endswith(","):
        raise SelectorError("the selector ends with a comma: expected one more term")
    return Selector(tuple(terms))


def _term(found: re.Match[str]) -> Term:
    if found["absent"]:
        return Term(_checked(check_label_key, found["absent"]), "not exists")
    key = _checked(check_label_key, found["key"])
    if found["compare"]:
        operator: Operator = "!=" if found["compare"] == "!=" else "="
        return Term(key, operator, (_checked(check_label_value, found["value"]),))
    if found["set"]:
        words = tuple(_checked(check_label_value, word.strip()) for word in found["values"].split(","))
        return Term(key, "in" if found["set"] == "in" else "not in", words)
    return Term(key, "exists")


def _checked(check: Callable[[str], str], word: str) -> str:
    try:
        return check(word)
    except Wrong as wrong:
        raise SelectorError(f"{word[:80]!r} in the selector: {wrong}") from None
