"""The language of ``schedule.constraints``. The README has its grammar."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from newbon_core.hooks import BoolArray, LabelColumn
from newbon_filter_constraints.patterns import Pattern, PatternError
from newbon_filter_constraints.versions import version_of

MAX_LENGTH = 512
MAX_VALUE_LENGTH = 256
ENGINE_VERSION = "engine.version"
LABELS = "node.labels."
ALIASES = {"node.name": "node", "node.os": "os", "node.arch": "arch", "node.kernel": "kernel"}
OPERATORS = ("==", "!=", ">=", "<=", ">", "<", "=~", "!~", "in", "not in", "exists", "not exists")

_SPACE = re.compile(r"\s*")
_SUBJECT = re.compile(r"[A-Za-z0-9_./-]+")
_SIGNS = re.compile(r"[=!<>~]+")
_WORD = re.compile(r"[a-z]+")
_BARE = re.compile(r"[A-Za-z0-9_.:/@+-]+")


class ConstraintError(Exception):
    """An expression cannot be read. ``position`` counts its characters from 1."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"at character {position}: {message}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Constraint:
    """One expression. ``accept`` judges a value; ``absent`` is the answer where the label is not there.

    ``key`` is the label, ENGINE_VERSION standing for the version of whichever runtime the service uses. ``wanted`` is
    the value of ``==`` and ``!=``, which need not look at every value.
    """

    text: str
    key: str
    accept: Callable[[str], bool]
    absent: bool
    wanted: str | None = None

    def label(self, runtime: str) -> str:
        """The label that is looked at for a service with this runtime."""
        return f"{runtime}.version" if self.key == ENGINE_VERSION else self.key

    def passed(self, column: LabelColumn) -> BoolArray:
        """Which nodes meet it."""
        if self.wanted is not None:
            return ~column.equals(self.wanted) if self.absent else column.equals(self.wanted)
        met = column.where(self.accept)
        return met | ~column.present if self.absent else met


@lru_cache(maxsize=4096)
def parse(text: str) -> Constraint:
    """Read one expression. Raises ConstraintError."""
    if len(text) > MAX_LENGTH:
        raise ConstraintError(
            f"an expression has at most {MAX_LENGTH} characters, this one has {len(text)}", MAX_LENGTH
        )
    return _Reader(text).constraint()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def constraint(self) -> Constraint:
        key = self._subject()
        operator = self._operator()
        made = self._test(key, operator)
        self._space()
        if self._at < len(self._text):
            raise self._error(f"expected the end of the expression, found {self._text[self._at :]!r}")
        return made

    def _error(self, message: str, at: int | None = None) -> ConstraintError:
        return ConstraintError(message, (self._at if at is None else at) + 1)

    def _space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _match(self, pattern: re.Pattern[str]) -> str:
        self._space()
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found.group()

    def _subject(self) -> str:
        self._space()
        at = self._at
        subject = self._match(_SUBJECT)
        known = (*ALIASES, ENGINE_VERSION)
        if subject.startswith(LABELS) and len(subject) > len(LABELS):
            return subject[len(LABELS) :]
        if subject in ALIASES:
            return ALIASES[subject]
        if subject == ENGINE_VERSION:
            return subject
        found = repr(subject) if subject else "nothing"
        near = difflib.get_close_matches(subject, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; a label is written {LABELS}KEY" if subject else ""
        raise self._error(f"expected {LABELS}KEY, {', '.join(known)}, found {found}{hint}", at)

    def _operator(self) -> str:
        self._space()
        at = self._at
        found = self._match(_SIGNS) or self._match(_WORD)
        if found == "not":
            found = f"not {self._match(_WORD)}"
        if found in OPERATORS:
            return found
        near = "==" if found == "=" else next(iter(difflib.get_close_matches(found, OPERATORS, n=1)), None)
        hint = f"; did you mean {near!r}?" if near else ""
        raise self._error(f"expected one of {', '.join(OPERATORS)}, found {found or 'nothing'!r}{hint}", at)

    def _value(self, what: str = "a value") -> str:
        self._space()
        at = self._at
        quote = self._text[at : at + 1]
        if quote in ("'", '"') and quote:
            end = self._text.find(quote, at + 1)
            if end < 0:
                raise self._error("this quote is never closed", at)
            self._at = end + 1
            return self._text[at + 1 : end]
        value = self._match(_BARE)
        if not value:
            rest = self._text[at:]
            found = repr(rest) if rest else "nothing"
            raise self._error(f"expected {what} (other signs need quotes), found {found}", at)
        return value

    def _values(self) -> tuple[str, ...]:
        self._space()
        at = self._at
        if self._text[at : at + 1] != "(":
            raise self._error("expected a list such as (a, b)", at)
        self._at += 1
        values = [self._value()]
        while True:
            self._space()
            sign = self._text[self._at : self._at + 1]
            if sign not in (",", ")") or not sign:
                raise self._error("expected , or ) in the list")
            self._at += 1
            if sign == ")":
                return tuple(values)
            values.append(self._value())

    def _pattern(self) -> Pattern:
        self._space()
        at = self._at
        end = self._text.rfind("/")
        if self._text[at : at + 1] != "/" or end <= at:
            raise self._error("expected a regular expression such as /ssd.*/", at)
        try:
            pattern = Pattern(self._text[at + 1 : end])
        except PatternError as error:
            raise self._error(str(error), at + 1 + error.position) from error
        self._at = end + 1
        return pattern

    def _test(self, key: str, operator: str) -> Constraint:
        text = self._text.strip()
        match operator:
            case "==":
                wanted = self._value()
                return Constraint(text, key, wanted.__eq__, False, wanted)
            case "!=":
                unwanted = self._value()
                return Constraint(text, key, unwanted.__ne__, True, unwanted)
            case "in" | "not in":
                values = frozenset(self._values())
                inside = operator == "in"
                return Constraint(text, key, lambda value: (value in values) == inside, not inside)
            case "exists" | "not exists":
                there = operator == "exists"
                return Constraint(text, key, lambda _value: there, not there)
            case "=~" | "!~":
                like = operator == "=~"
                return Constraint(text, key, self._matching(like), not like)
            case _:
                return Constraint(text, key, self._ordered(operator), False)

    def _matching(self, like: bool) -> Callable[[str], bool]:
        pattern = self._pattern()

        @lru_cache(maxsize=16384)
        def accept(value: str) -> bool:
            return (len(value) <= MAX_VALUE_LENGTH and pattern.matches(value)) == like

        return accept

    def _ordered(self, operator: str) -> Callable[[str], bool]:
        self._space()
        at = self._at
        text = self._value("a version or number")
        bound = version_of(text)
        if bound is None:
            raise self._error(f"{operator} compares versions and numbers, such as 20.10; {text!r} is none", at)

        def accept(value: str) -> bool:
            version = version_of(value)
            if version is None:
                return False
            match operator:
                case ">=":
                    return version >= bound
                case "<=":
                    return version <= bound
                case ">":
                    return version > bound
                case _:
                    return version < bound

        return accept


def problems(values: Sequence[str]) -> list[tuple[int, str]]:
    """What is wrong with a list of expressions: (index, sentence) for each that cannot be read."""
    found = []
    for index, value in enumerate(values):
        try:
            parse(value)
        except ConstraintError as error:
            found.append((index, str(error)))
    return found
