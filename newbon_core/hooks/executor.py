"""Ask filters and scores, one plugin after another, and hold each answer against the contract.

pluggy's own call stops at the first exception and does not say whose it was; this loop attributes, times and contains.
A filter that fails rejects every node (fails closed), a score that fails is left out (fails open).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from newbon_core.hooks.account import Account
from newbon_core.hooks.adapt import NodeFailure, NodeVerdict, repair
from newbon_core.hooks.telling import describe_error, shortened
from newbon_core.hooks.types import (
    BoolArray,
    DomainTerm,
    FloatArray,
    NodeTable,
    PlacementRequest,
    Rejection,
    Scores,
    Verdict,
)

Ask = Callable[[PlacementRequest, NodeTable], object]
Timer = Callable[[], float]
"""Measures how long calls take; never used to decide anything."""

DEFAULT_TIMER: Timer = time.perf_counter

CONTAINED = (Exception, SystemExit)
"""What a plugin's call may raise without harm to others; an interrupt from the keyboard is not the plugin's."""

_BOOL = np.dtype(np.bool_)
_FLOAT = np.dtype(np.float64)


class WrongAnswer(Exception):
    """An answer that the contract does not allow; the text says what came and what was expected."""


@dataclass(frozen=True, slots=True)
class FilterAnswer:
    """What one filter said. ``failed`` when the verdict stands for an error of the plugin."""

    plugin: str
    verdict: Verdict
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ScoreAnswer:
    """What one score said, with the site's weight for it."""

    plugin: str
    weight: float
    scores: Scores


@dataclass(slots=True)
class Filter:
    """A filter of an active plugin, ready to be asked."""

    account: Account
    ask: Ask
    timer: Timer = DEFAULT_TIMER

    def answer(self, request: PlacementRequest, nodes: NodeTable) -> FilterAnswer | None:
        """The verdict; None when the filter has nothing to say. Never raises for what the plugin does."""
        account = self.account
        if account.retry_at is not None and account.rests(request.now):
            return self._failure(account.quarantine_reason(), len(nodes))
        timer = self.timer
        began = timer()
        try:
            found = self.ask(request, nodes)
            verdict = None if found is None else self._checked(found, len(nodes), request)
        except CONTAINED as error:
            account.calls += 1
            account.seconds += timer() - began
            account.failed(_sentence(error), request.now)
            return self._failure(account.last_error, len(nodes))
        account.calls += 1
        account.seconds += timer() - began
        if account.retry_at is not None and account.retry_at <= request.now:
            account.worked()
        return None if verdict is None else FilterAnswer(account.plugin, verdict)

    def _checked(self, found: object, count: int, request: PlacementRequest) -> Verdict:
        account = self.account
        if isinstance(found, Verdict):
            passed, reason, stepwise, summarise = found.passed, found.reason, found.stepwise, found.summarise
            if not callable(reason):
                raise WrongAnswer(f"Verdict.reason is {_kind(reason)}; it must be a function of a node's index")
        elif isinstance(found, np.ndarray):
            passed, reason, stepwise, summarise = found, partial(_plain_reason, account.plugin), False, None
        else:
            raise WrongAnswer(f"the answer is {_kind(found)}; it must be a Verdict, an array of bool, or None")
        if not isinstance(passed, np.ndarray) or passed.dtype != _BOOL or passed.shape != (count,):
            raise WrongAnswer(f"the mask is {_kind(passed)}; it must be an array of {count} bool")
        if isinstance(found, NodeVerdict):
            if found.failures:
                self._note_failures(found, count, request.now)
            reason, summarise = partial(_node_reason, account.plugin, found), partial(found.rejections, account.plugin)
        return Verdict(
            passed,
            partial(self._reason, reason, request.now),
            bool(stepwise),
            None if summarise is None else partial(self._summary, summarise, request.now),
        )

    def _reason(self, reason: Callable[[int], object], now: float, index: int) -> str:
        """The plugin's reason for one node; reasons are asked late, and must not fail the explanation."""
        account = self.account
        try:
            text = reason(index)
            if not isinstance(text, str) or not text:
                raise WrongAnswer(f"reason({index}) gave {_kind(text)}; it must give a sentence")
        except CONTAINED as error:
            account.note(_sentence(error), now)
            return f"plugin {account.plugin} failed: {account.last_error}"
        return text

    def _note_failures(self, verdict: NodeVerdict, count: int, now: float) -> None:
        index, text = next(iter(verdict.failures.items()))
        more = f" (and {len(verdict.failures) - 1} more)" if len(verdict.failures) > 1 else ""
        # One bad node must not put the filter in quarantine, which would reject all the others too.
        note = self.account.failed if len(verdict.failures) == count else self.account.note
        note(f"on node {verdict.names[index]}: {text}{more}", now)

    def _summary(self, summarise: Callable[[BoolArray], object], now: float, mask: BoolArray) -> Sequence[Rejection]:
        account = self.account
        try:
            found = summarise(mask)
            if not isinstance(found, Sequence) or not all(isinstance(one, Rejection) for one in found):
                raise WrongAnswer(f"summarise() gave {_kind(found)}; it must give a sequence of Rejection")
        except CONTAINED as error:
            account.note(_sentence(error), now)
            return _one_rejection(account.plugin, account.last_error, mask)
        return found

    def _failure(self, text: str, count: int) -> FilterAnswer:
        return rejecting(self.account.plugin, text, count)


def rejecting(plugin: str, why: str, count: int) -> FilterAnswer:
    """Every node rejected, with the plugin's error (or its quarantine) as the reason."""
    reason = partial(_same_reason, f"plugin {plugin} failed: {why}")
    verdict = Verdict(np.zeros(count, dtype=np.bool_), reason, False, partial(_one_rejection, plugin, why))
    return FilterAnswer(plugin, verdict, True)


@dataclass(slots=True)
class FailedFilter:
    """A filter whose plugin could not be taken in: what it enforces must not be passed over, so it rejects all."""

    plugin: str
    why: str

    def answer(self, request: PlacementRequest, nodes: NodeTable) -> FilterAnswer:  # noqa: ARG002  as Filter.answer
        """A verdict that rejects every node."""
        return rejecting(self.plugin, self.why, len(nodes))


@dataclass(slots=True)
class Score:
    """A score of an active plugin, ready to be asked."""

    account: Account
    ask: Ask
    weight: float
    timer: Timer = DEFAULT_TIMER
    left_out: str = ""

    def answer(self, request: PlacementRequest, nodes: NodeTable) -> ScoreAnswer | None:
        """The scores; None when there are none, or none that can be used: ``left_out`` then says why.

        Never raises for what the plugin does.
        """
        account = self.account
        if account.retry_at is not None and account.rests(request.now):
            self.left_out = account.quarantine_reason()
            return None
        timer = self.timer
        began = timer()
        try:
            found = self.ask(request, nodes)
            scores = None if found is None else checked_scores(found, len(nodes))
        except CONTAINED as error:
            account.calls += 1
            account.seconds += timer() - began
            account.failed(_sentence(error), request.now)
            self.left_out = account.last_error
            return None
        account.calls += 1
        account.seconds += timer() - began
        self.left_out = ""
        if account.retry_at is not None:
            account.worked()
        return None if scores is None else ScoreAnswer(account.plugin, self.weight, scores)


def checked_scores(found: object, count: int) -> Scores:
    """The answer of a score as Scores whose values are finite float64. Raises WrongAnswer.

    Integers are taken as floats. Bounds that are equal say nothing and are dropped.
    """
    if isinstance(found, np.ndarray):
        return Scores(_finite(found, count, "the answer"))
    if not isinstance(found, Scores):
        raise WrongAnswer(f"the answer is {_kind(found)}; it must be Scores, an array of float, or None")
    values = _finite(found.values, count, "Scores.values")
    bounds = found.bounds
    if bounds is not None:
        worst, best = _bounds(bounds)
        bounds = None if worst == best else (worst, best)
        if bounds is not None and count and not found.beyond:
            _refuse_beyond(float(np.minimum.reduce(values)), float(np.maximum.reduce(values)), bounds)
    if not isinstance(found.domains, tuple):
        raise WrongAnswer(f"Scores.domains is {_kind(found.domains)}; it must be a tuple of DomainTerm")
    for term in found.domains:
        _check_domain(term, count)
    if values is found.values and bounds is found.bounds and found.stepwise.__class__ is bool:
        return found
    return Scores(values, bounds, found.domains, bool(found.stepwise), bool(found.beyond))


def _finite(values: object, count: int, what: str) -> FloatArray:
    if not isinstance(values, np.ndarray) or values.shape != (count,) or values.dtype.kind not in "fiu":
        raise WrongAnswer(f"{what} is {_kind(values)}; it must be an array of {count} float")
    if values.dtype != _FLOAT:
        values = values.astype(_FLOAT)
    if not np.isfinite(values).all():
        index = int(np.flatnonzero(~np.isfinite(values))[0])
        raise WrongAnswer(f"{what} has {values[index]} for node {index}; every score must be finite")
    return values


def _refuse_beyond(lowest: float, highest: float, bounds: tuple[float, float]) -> None:
    least, most = min(bounds), max(bounds)
    slack = (most - least) * 1e-9
    if lowest < least - slack or highest > most + slack:
        raise WrongAnswer(
            f"Scores.values go from {lowest:g} to {highest:g}, beyond Scores.bounds {bounds}; keep them within "
            "(np.clip), or say beyond=True where that is meant"
        )


def _bounds(bounds: object) -> tuple[float, float]:
    if isinstance(bounds, tuple) and len(bounds) == 2:
        worst, best = bounds
        # A plugin may well give NumPy's numbers, whose plain value is what the core reckons with.
        if all(isinstance(bound, (int, float, np.number)) and np.isfinite(bound) for bound in bounds):
            return (worst, best) if type(worst) is type(best) is float else (float(worst), float(best))
    raise WrongAnswer(f"Scores.bounds is {bounds!r}; it must be two finite numbers (worst, best)")


def _check_domain(term: object, count: int) -> None:
    if not isinstance(term, DomainTerm):
        raise WrongAnswer(f"Scores.domains has {_kind(term)}; it must hold DomainTerm only")
    codes, counts = term.codes, term.counts
    if not isinstance(codes, np.ndarray) or codes.dtype.kind not in "iu" or codes.shape != (count,):
        raise WrongAnswer(f"DomainTerm.codes is {_kind(codes)}; it must be an array of {count} int")
    if not isinstance(counts, np.ndarray) or counts.dtype.kind not in "fiu" or counts.ndim != 1:
        raise WrongAnswer(f"DomainTerm.counts is {_kind(counts)}; it must be an array of float, one per domain")
    if not np.isfinite(counts).all() or not np.isfinite(term.weight):
        raise WrongAnswer("DomainTerm.counts and DomainTerm.weight must be finite")
    if count and (codes.min() < 0 or codes.max() >= len(counts)):
        raise WrongAnswer(
            f"DomainTerm.codes goes from {codes.min()} to {codes.max()}; with {len(counts)} counts it must "
            f"stay within 0 and {len(counts) - 1}"
        )


def _plain_reason(plugin: str, _index: int) -> str:
    return f"{plugin}: the filter gives no reason"


def _same_reason(reason: str, _index: int) -> str:
    return reason


def _node_reason(plugin: str, verdict: NodeVerdict, index: int) -> str:
    failure = verdict.failures.get(index)
    return verdict.reason(index) if failure is None else f"plugin {plugin} failed: {failure}"


def _one_rejection(plugin: str, sentence: str, mask: BoolArray) -> Sequence[Rejection]:
    count = int(np.count_nonzero(mask))
    return [Rejection(category=f"plugin {plugin} failed", nodes=count, sentence=sentence, advice=repair(plugin))]


def _sentence(error: BaseException) -> str:
    return shortened(str(error)) if isinstance(error, (WrongAnswer, NodeFailure)) else describe_error(error)


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
