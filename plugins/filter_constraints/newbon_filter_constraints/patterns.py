"""Regular expressions that match in time linear in the text, whatever the expression: no backtracking.

Supported: literals, ``.``, ``[abc]``, ``[^a-z]``, ``\\d \\w \\s`` and their opposites, ``\\`` before any other sign,
groups, ``|``, ``*``, ``+``, ``?``, ``{m}``, ``{m,}``, ``{m,n}``. An expression always matches the whole text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

MAX_STATES = 1500
_MAX_DEPTH = 50

Accepts = Callable[[str], bool]
_CLASSES: dict[str, Accepts] = {
    "d": lambda sign: sign.isdigit(),
    "w": lambda sign: sign.isalnum() or sign == "_",
    "s": lambda sign: sign.isspace(),
}


class PatternError(Exception):
    """The expression cannot be read; ``position`` counts its characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(slots=True)
class _State:
    """Goes on to ``then`` on a sign that it accepts; without ``accepts`` to all of ``then`` at once."""

    accepts: Accepts | None = None
    then: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the automaton with one entry and one exit."""

    entry: int
    leave: int


class Pattern:
    """A compiled expression. Raises PatternError."""

    def __init__(self, text: str) -> None:
        self._states: list[_State] = []
        self._text = text
        self._at = 0
        piece = self._alternatives(0)
        if self._at < len(text):
            raise PatternError("there is no ( for this )", self._at)
        self._entry, self._final = piece.entry, piece.leave

    def matches(self, text: str) -> bool:
        """True when the expression matches the whole text."""
        present = self._closure({self._entry})
        for sign in text:
            following = set()
            for number in present:
                state = self._states[number]
                if state.accepts is not None and state.accepts(sign):
                    following.update(state.then)
            if not following:
                return False
            present = self._closure(following)
        return self._final in present

    def _closure(self, numbers: set[int]) -> set[int]:
        found = set(numbers)
        pending = list(numbers)
        while pending:
            state = self._states[pending.pop()]
            if state.accepts is None:
                new = [number for number in state.then if number not in found]
                found.update(new)
                pending += new
        return found

    # --- reading ---

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _take(self, what: str) -> str:
        sign = self._peek()
        if not sign:
            raise PatternError(f"the expression ends where {what} was expected", self._at)
        self._at += 1
        return sign

    def _state(self, accepts: Accepts | None = None) -> int:
        if len(self._states) >= MAX_STATES:
            raise PatternError("the expression is too large", self._at)
        self._states.append(_State(accepts))
        return len(self._states) - 1

    def _alternatives(self, depth: int) -> _Piece:
        if depth > _MAX_DEPTH:
            raise PatternError("groups are nested too deeply", self._at)
        choices = [self._sequence(depth)]
        while self._peek() == "|":
            self._at += 1
            choices.append(self._sequence(depth))
        return choices[0] if len(choices) == 1 else self._either(choices)

    def _either(self, choices: list[_Piece]) -> _Piece:
        entry, leave = self._state(), self._state()
        for choice in choices:
            self._states[entry].then.append(choice.entry)
            self._states[choice.leave].then.append(leave)
        return _Piece(entry, leave)

    def _sequence(self, depth: int) -> _Piece:
        start = self._state()
        whole = _Piece(start, start)
        while self._peek() not in ("", "|", ")"):
            whole = self._joined(whole, self._repeated(depth))
        return whole

    def _joined(self, first: _Piece, second: _Piece) -> _Piece:
        self._states[first.leave].then.append(second.entry)
        return _Piece(first.entry, second.leave)

    def _repeated(self, depth: int) -> _Piece:
        start = self._at
        piece = self._atom(depth)
        least, most = self._bounds()
        if (least, most) == (1, 1):
            return piece
        end = self._at
        # A counted part is read again for every copy, for each needs states of its own.
        whole = self._empty()
        for _ in range(least):
            whole = self._joined(whole, self._again(start, end, depth))
        if most is None:
            loop = self._again(start, end, depth)
            entry, leave = self._state(), self._state()
            self._states[entry].then += [loop.entry, leave]
            self._states[loop.leave].then.append(entry)
            return self._joined(whole, _Piece(entry, leave))
        for _ in range(most - least):
            whole = self._joined(whole, self._either([self._again(start, end, depth), self._empty()]))
        return whole

    def _empty(self) -> _Piece:
        state = self._state()
        return _Piece(state, state)

    def _again(self, start: int, end: int, depth: int) -> _Piece:
        self._at = start
        piece = self._atom(depth)
        self._at = end
        return piece

    def _bounds(self) -> tuple[int, int | None]:
        sign = self._peek()
        if sign not in ("*", "+", "?", "{") or not sign:
            return (1, 1)
        at = self._at
        self._at += 1
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign] if sign != "{" else self._counted(at)
        if self._peek() in ("*", "+", "?", "{") and self._peek():
            raise PatternError("a repetition cannot be repeated; put it into a group", self._at)
        return least, most

    def _counted(self, at: int) -> tuple[int, int | None]:
        end = self._text.find("}", at)
        low, comma, high = self._text[at + 1 : end if end >= 0 else None].partition(",")
        if end < 0 or not low.isdecimal() or not (high.isdecimal() or not high):
            raise PatternError("expected {m}, {m,} or {m,n}", at)
        self._at = end + 1
        least = int(low)
        most = int(high) if high else (None if comma else least)
        if least > MAX_STATES or (most is not None and (most < least or most > MAX_STATES)):
            raise PatternError("the counts of {m,n} are impossible", at)
        return least, most

    def _atom(self, depth: int) -> _Piece:
        at = self._at
        sign = self._take("a sign")
        match sign:
            case "(":
                if self._peek() == "?":
                    raise PatternError("groups with ? are not supported", self._at)
                piece = self._alternatives(depth + 1)
                if self._peek() != ")":
                    raise PatternError("this ( is never closed", at)
                self._at += 1
                return piece
            case "^" | "$":
                raise PatternError(f"leave out {sign}: an expression always matches the whole value", at)
            case "*" | "+" | "?" | "{":
                raise PatternError(f"there is nothing that {sign} could repeat", at)
            case ".":
                return self._sign(lambda _sign: True)
            case "[":
                return self._sign(self._set(at))
            case "\\":
                return self._sign(self._escaped())
            case _:
                return self._sign(sign.__eq__)

    def _sign(self, accepts: Accepts) -> _Piece:
        entry, leave = self._state(accepts), self._state()
        self._states[entry].then.append(leave)
        return _Piece(entry, leave)

    def _escaped(self) -> Accepts:
        at = self._at
        sign = self._take("a sign after \\")
        if sign.lower() in _CLASSES:
            known = _CLASSES[sign.lower()]
            return known if sign.islower() else lambda other: not known(other)
        if sign.isalnum():
            raise PatternError(f"\\{sign} is not supported", at)
        return sign.__eq__

    def _set(self, at: int) -> Accepts:
        negated = self._peek() == "^"
        self._at += negated
        members: list[Accepts] = []
        while self._peek() != "]" or not members:
            if not self._peek():
                raise PatternError("this [ is never closed", at)
            members.append(self._member())
        self._at += 1
        return lambda sign: any(accepts(sign) for accepts in members) != negated

    def _member(self) -> Accepts:
        at = self._at
        first = self._take("a sign")
        if first == "\\":
            return self._escaped()
        if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
            self._at += 1
            last = self._take("the end of a range")
            if last < first or last == "\\":
                raise PatternError(f"the range {first}-{last} is impossible", at)
            return lambda sign: first <= sign <= last
        return first.__eq__
