"""The steps of a request's reads and writes, in words: what went to the cache and the database."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from django.template.defaultfilters import pluralize

from cars.caching import events

CACHE, DATABASE = "cache", "database"

# For each outcome: where the page asked, what it asked, and the answer. And, for the outcomes that
# sum up a write, the word for it.
WORDS = {
    events.HIT: (CACHE, "get", "the row: a hit"),
    events.LOOKED: (CACHE, "get", "no row"),
    events.MISS: (CACHE, "take the lease", "leased: a miss"),
    events.HELD: (CACHE, "take the lease", "held by a writer"),
    events.WAITED: (CACHE, "look again", "the row"),
    events.GIVEN_UP: (CACHE, "wait for another reader", "no row in time"),
    events.NO_ANSWER: (CACHE, "take the lease", "the cache does not answer"),
    events.SELECTED: (DATABASE, "SELECT", "the row as it is now"),
    events.FILLED: (CACHE, "put the row", "stored"),
    events.EXPIRED: (CACHE, "remove the entry", "removed"),
    events.HOLD: (CACHE, "put a hold", "held"),
    events.COMMITTED: (DATABASE, "write and COMMIT", "committed"),
    events.WITHDRAWN: (CACHE, "remove the hold", "nothing stands there"),
    events.OWED: (DATABASE, "note the withdrawal", "owed: the cache does not answer"),
    events.REFUSED: (CACHE, "try 20 times", "refused: others changed the entry"),
}
LOOK_OF_A_WRITER = (CACHE, "look", "what stands there")
UNASKED = (CACHE, "not asked", "held by this transaction, or owed")
NO_ANSWER = "no answer"  # to a look
# What follows a look that the cache did not answer.
AFTER_NO_ANSWER = (events.NO_ANSWER, events.COMMITTED, events.OWED)
PAST = {
    events.HOLD: "held",
    events.COMMITTED: "written and committed",
    events.SELECTED: "read again",
    events.FILLED: "put",
    events.EXPIRED: "removed",
    events.WITHDRAWN: "hold removed",
    events.OWED: "owed, since the cache does not answer",
    events.REFUSED: "refused",
}
RESULTS = (events.HIT, events.MISS, events.NO_ANSWER)  # of lookups, in short
NAMED = 3  # keys of one step; the others are counted


@dataclass
class Step:
    """One round trip, to the cache or to the database, or the time of a write until its COMMIT."""

    outcome: str
    started: float  # by `perf_counter()`
    seconds: float
    keys: list[str] = field(default_factory=list)
    offset: float = 0  # where the step begins, in percent of the time of all steps
    share: float = 0  # its time, in percent of that
    of_a_writer: bool = False
    unanswered: bool = False
    unasked: bool = False
    same_keys: bool = False  # as the step before

    @property
    def _words(self) -> tuple[str, str, str]:
        if self.unasked:
            return UNASKED
        looks = self.of_a_writer and self.outcome == events.LOOKED
        return LOOK_OF_A_WRITER if looks else WORDS[self.outcome]

    @property
    def lane(self) -> str:
        """Where the page asked: "cache" or "database"."""
        return self._words[0]

    @property
    def ask(self) -> str:
        """What the page asked."""
        return self._words[1]

    @property
    def answer(self) -> str:
        """What it got."""
        return NO_ANSWER if self.unanswered else self._words[2]

    @property
    def milliseconds(self) -> float:
        """The time from the question to the answer."""
        return self.seconds * 1000

    @property
    def named(self) -> str:
        """The keys, if they are others than before: "Car.1, Car.2, Car.3 and 22 more"."""
        return "" if self.same_keys else named(self.keys)

    @property
    def is_failure(self) -> bool:
        """Whether the cache did not answer or refused."""
        return self.unanswered or self.outcome in (events.NO_ANSWER, events.OWED, events.REFUSED)


def named(keys: list[str]) -> str:
    """Return the keys in words, the first few by name."""
    more = len(keys) - NAMED
    return ", ".join(keys[:NAMED]) + (f" and {more} more" if more > 0 else "")


def result_of(outcome: str) -> str:
    """Return the outcome of a lookup in short: "hit", "miss" or "no answer"."""
    if outcome == events.NO_ANSWER:
        return outcome
    return events.HIT if outcome in (events.HIT, events.WAITED) else events.MISS


class Steps:
    """The steps of one request, in their order: a listener for `events.listen()`."""

    def __init__(self, told: Iterable[events.Event] = ()) -> None:
        self._steps: list[Step] = []
        for event in told:
            self.record(event)

    def record(self, event: events.Event) -> None:
        """Record a step; the keys of one round trip are one step."""
        for step in reversed(self._steps):
            if step.started != event.started:
                break
            if step.outcome == event.outcome:
                step.keys.append(event.key)
                return
        step = Step(event.outcome, event.started, event.seconds, [event.key])
        looked = self._steps and self._steps[-1].outcome == events.LOOKED
        step.unasked = event.outcome == events.HELD and not looked
        self._steps.append(step)

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps, each with its place in the whole."""
        total = sum(step.seconds for step in self._steps) or 1
        before = 0.0
        writes = False
        keys: list[str] = []
        for step, end in zip(self._steps, self._ends(), strict=True):
            writes = writes or step.outcome in (events.HOLD, events.COMMITTED)
            step.of_a_writer = writes or end in PAST
            step.unanswered = step.outcome == events.LOOKED and end in AFTER_NO_ANSWER
            step.offset = round(100 * before / total, 2)
            step.share = round(100 * step.seconds / total, 2)
            before += step.seconds
            step.same_keys, keys = sorted(step.keys) == keys, sorted(step.keys)
            yield step

    def _ends(self) -> list[str]:
        """Return for each step the outcome of the next step that is not a look.

        A writer that gets no answer looks once more, so the answers to both looks are known by the
        step after them. When a write could not hold, no event follows the looks of its release:
        they got no answer either.
        """
        end = events.OWED if self._is_unheld else ""
        ends = []
        for step in reversed(self._steps):
            ends.append(end)
            if step.outcome != events.LOOKED:
                end = step.outcome
        return ends[::-1]

    @property
    def _is_unheld(self) -> bool:
        """Whether a write was committed that the cache gave no hold."""
        outcomes = {step.outcome for step in self._steps}
        return events.COMMITTED in outcomes and events.HOLD not in outcomes

    def __bool__(self) -> bool:
        return bool(self._steps)

    @property
    def keys(self) -> list[str]:
        """All keys, each once, in their order."""
        return list(dict.fromkeys(key for step in self._steps for key in step.keys))

    @property
    def written(self) -> set[str]:
        """The keys that were held, committed or withdrawn."""
        outcomes = (events.HOLD, events.COMMITTED, events.WITHDRAWN, events.OWED, events.REFUSED)
        return {key for step in self._steps if step.outcome in outcomes for key in step.keys}

    @property
    def results(self) -> Counter[str]:
        """The number of lookups by their result."""
        looked_up: Counter[str] = Counter()
        for step in self._steps:
            if step.outcome in events.LOOKUPS:
                looked_up[result_of(step.outcome)] += len(step.keys)
        return looked_up

    @property
    def kind(self) -> str:
        """What these steps are: "failed", "write", "miss" or "hit"."""
        if any(step.is_failure for step in self):
            return "failed"
        if self.written or not self.results:
            return "write"
        return events.MISS if self.results[events.MISS] else events.HIT

    @property
    def saved_select(self) -> bool:
        """Whether all that was read came from the cache, so that no SELECT was needed."""
        return bool(self) and not any(WORDS[step.outcome][0] == DATABASE for step in self._steps)

    @property
    def trips(self) -> int:
        """The number of round trips to the cache."""
        asked = (step for step in self._steps if not step.unasked)
        return len({step.started for step in asked if WORDS[step.outcome][0] == CACHE})

    @property
    def milliseconds(self) -> float:
        """The time of all steps together."""
        return sum({s.started: s.seconds for s in self._steps}.values()) * 1000

    @property
    def summary(self) -> str:
        """What was done, for example "held, written and committed, read again, put"."""
        done = dict.fromkeys(PAST[step.outcome] for step in self._steps if step.outcome in PAST)
        if self._is_unheld and PAST[events.OWED] not in done:
            done = {"not held, since the cache does not answer": None} | done
        return ", ".join(done)

    @property
    def figures(self) -> str:
        """The round trips and the time, for example "4 round trips to the cache, 3.1 ms"."""
        time = f"{self.milliseconds:.1f} ms"
        if any(step.is_failure for step in self):
            return time
        return f"{self.trips} round trip{pluralize(self.trips)} to the cache, {time}"
