"""Play a run, step by step, on the lab's scheduler. See `cars.learn` for where this may run."""

import linecache
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cars.caching.entries import EXPIRE, Holds, Lease, Row, Seen, State
from cars.lab.schedules.actors import Actor
from cars.lab.schedules.steps import WRITES, Step
from cars.lab.schedules.world import PlainEntry, Verdict, World
from cars.lab.walks.determined import determined_world
from cars.lab.walks.rules import without

from .runs import Choice, Code, Entry, Frame, Lane, Run, in_words
from .scenarios import HERE, Scenario

KILL = "kill-"
FAULTS = {
    "lost": "The cache loses the entry",
    "later": "Time passes: the entry ends",
}
VISITOR = "visitor"  # who reads once more when all others have ended
CACHE_CALLS = ("get", "gets", "cas", "add", "set", "delete")

# Modules whose lines are shown beside a step, unless a module of the first group is further in.
RECIPES = (
    "cars.recipes.",
    "cars.caching.protocol",
    "cars.caching.transactions",
    "cars.caching.queryset",
    "cars.lab.walks.rules",
)
PROGRAMS = ("cars.lab.schedules.programs",)


class NotPossible(ValueError):
    """A step that can't be taken at this point of the run; the message says which can."""


@contextmanager
def open_stage(scenario: Scenario, servers: Sequence[str] = ()) -> Iterator["Stage"]:
    """Yield the Stage of `scenario`, with its cache in local memory, or on Memcached `servers`.

    Walks and searches need local memory, where they know an entry that was seen before. So do the
    recipes that store pickles: nothing that comes from a network may be unpickled.
    """
    if scenario.recipe != HERE:
        servers = ()
    cache = "memcached" if servers else "local"
    with (
        without(scenario.without or None),
        determined_world(scenario.words, cache, list(servers)) as world,
    ):
        yield Stage(scenario, world)


class Stage:
    """A world with lanes for its actors, which plays schedules of choices."""

    def __init__(self, scenario: Scenario, world: World) -> None:
        self.scenario = scenario
        self.world = world
        self.ids: dict[str, str] = {}  # of the lanes, by the names of the actors
        readers = [actor for actor in world.actors if actor not in world.writers]
        for kind, actors in (("writer", world.writers), ("reader", readers)):
            for number, actor in enumerate(actors, 1):
                self.ids[actor.name] = f"{kind}{number}" if len(actors) > 1 else kind
        self.lanes = [Lane(i, _title(i), i.startswith("writer")) for i in self.ids.values()]
        self.lanes.append(Lane(VISITOR, _title(VISITOR), writes=False))
        self.ids[VISITOR] = VISITOR

    def replay(self, steps: Sequence[str]) -> list[Frame]:
        """Start again and take `steps`; return their frames.

        Raises NotPossible for a step that can't be taken when its turn comes.
        """
        self.world.start()
        return [frame for step in steps for frame in self.take(step)]

    def play(self, steps: Sequence[str]) -> Run:
        """Replay `steps`; when all have ended, a visitor reads the row once more.

        Raises NotPossible for a step that can't be taken when its turn comes.
        """
        frames = self.replay(steps)
        choices = tuple(self.choices())
        if not choices:
            frames += self._visit()
        return Run(
            recipe=self.scenario.recipe.slug,
            case=self.scenario.case.slug,
            without=self.scenario.without,
            database=self.world.connection.vendor,
            lanes=tuple(self.lanes),
            steps=tuple(steps),
            frames=tuple(frames),
            choices=choices,
        )

    def choices(self) -> Iterator[Choice]:
        """Yield what can happen next."""
        for name in self.world.able:
            if name in FAULTS:
                yield Choice(name, "", FAULTS[name])
            elif name.startswith("kill "):
                lane = self.ids[name[5:]]
                yield Choice(KILL + lane, _title(lane), "is killed")
            else:
                pending = self.world.by_name[name].pending
                assert pending
                yield Choice(self.ids[name], _title(self.ids[name]), _call(pending))

    def take(self, step: str) -> list[Frame]:
        """Take `step`, the id of a choice, and return its frame; BEGIN takes the next one too.

        Raises NotPossible if it can't be taken now.
        """
        names = {
            choice.id: name for choice, name in zip(self.choices(), self.world.able, strict=True)
        }
        if step not in names:
            able = ", ".join(names) or "none, since the run has ended"
            raise NotPossible(f"The step {step!r} can't be taken here. Possible steps: {able}.")
        name = names[step]
        if name not in self.world.by_name:
            call = FAULTS.get(name, "is killed")
            lane = step.removeprefix(KILL) if step.startswith(KILL) else ""
            self.world.take(name)
            return [self._frame(lane, call, "cache" if not lane else "")]
        frames = [self._step(name)]
        # PostgreSQL's driver sends BEGIN with the first statement: so that a schedule means the
        # same on each database, it is no step to choose.
        if frames[0].call == "BEGIN" and name in self.world.able:
            frames.append(self._step(name))
        return frames

    def _step(self, name: str) -> Frame:
        actor = self.world.by_name[name]
        step, code = actor.pending, _code(actor.stack())
        assert step
        self.world.take(name)
        return self._frame_of(actor, step, code)

    def follow(self, script: str) -> tuple[str, ...]:
        """Start again, take the steps that `script` describes, and return them as a schedule.

        A script has parts separated by commas. "reader to SELECT" takes the reader's steps up to
        that call, "reader before SELECT" those before it, "reader to end" all that are left.
        Another part is the id of one choice.

        Raises NotPossible if a step can't be taken, or if the call is never made.
        """
        self.world.start()
        steps: list[str] = []
        for part in script.split(", "):
            step, _, following = part.partition(" before ")
            if following:
                while following not in [each.call for each in self.choices() if each.id == step]:
                    self.take(step)
                    steps.append(step)
                continue
            step, _, last = part.partition(" to ")
            frames = self.take(step)
            steps.append(step)
            while last and all(frame.call != last for frame in frames):
                if last == "end" and step not in [choice.id for choice in self.choices()]:
                    break
                frames = self.take(step)
                steps.append(step)
        return tuple(steps)

    def _visit(self) -> list[Frame]:
        """Let a visitor read the row, and return its frames."""
        world = self.world
        config = world.connection.settings_dict
        visitor = Actor(VISITOR, 0, config, world.table, world.cache)
        frames = []
        try:
            visitor.begin(world.case.program("read"), world)
            while step := visitor.pending:
                world.verdict = None
                code = _code(visitor.stack())
                visitor.resume()
                world._look()
                frames.append(self._frame_of(visitor, step, code))
        finally:
            visitor.end()
        if visitor.error:
            raise visitor.error
        return frames

    # Frames

    def _frame_of(self, actor: Actor, step: Step, code: Code | None) -> Frame:
        lane = self.ids[actor.name]
        target = "cache" if step.kind in CACHE_CALLS else "database"
        verdict = self.world.verdict or ""
        sentence = self._sentence(lane, actor.last_read) if verdict else ""
        result = self._result(actor, step)
        return self._frame(lane, _call(step), target, result, str(verdict), sentence, code)

    def _frame(
        self,
        lane: str,
        call: str,
        target: str,
        result: str = "",
        verdict: str = "",
        sentence: str = "",
        code: Code | None = None,
    ) -> Frame:
        lock = self.world.lock
        writing = _title(self.ids[lock.owner]) if lock and lock.written else ""
        return Frame(
            lane,
            call,
            self._entry(self.world.entry),
            self.world.committed,
            target,
            result,
            writing,
            verdict,
            sentence,
            code,
        )

    def _entry(self, entry: PlainEntry | None) -> Entry:
        if not entry:
            return Entry(str(State.NOTHING))
        if entry.state is State.OTHER:
            return Entry("None")
        owners = sorted({_title(self.ids[t.rpartition("-")[0]]) for t in entry.tokens})
        return Entry(str(entry.state), entry.number, tuple(owners))

    def _result(self, actor: Actor, step: Step) -> str:
        result = actor.result
        if isinstance(result, Exception):
            return type(result).__name__
        if step.kind == "get":
            number = actor.seen[-1][1] if actor.seen and actor.seen[-1][0] == "get" else None
            return "nothing to serve" if number is None else f"row {number}"
        if step.kind == "gets":
            ((value, _),) = result.values()
            return in_words(self._entry(self.world.plain(value)))
        if step.kind in ("cas", "add"):
            return "stored" if result else "refused"
        if step.kind == "SELECT":
            seen = self.world.visible_to(actor)
            return "no row" if seen is None else f"row {seen}"
        if step.kind in WRITES:
            return "1 row" if step.rows == 1 else f"{step.rows} rows"
        return ""

    def _sentence(self, lane: str, number: Any) -> str:
        title, committed = _title(lane), self.world.committed
        who = title if title[-1].isdigit() else f"The {title.lower()}"
        if self.world.verdict is Verdict.RIGHT:
            return f"{who} is shown {number}, the committed row."
        if self.world.verdict is Verdict.DIRTY:
            return f"{who} is shown {number}, which is not committed."
        newer = "the row is deleted" if committed is None else f"{committed} is committed"
        text = f"{who} is shown {number}, although {newer}."
        if self.world.verdict is Verdict.EXCUSED:
            text += " This is a listed exception: the entry was lost while a write was open."
        return text


def _title(lane: str) -> str:
    """Return the title of the lane `lane`, for example "Writer 2" for "writer2"."""
    if lane == VISITOR:
        return "Next visitor"
    name = lane.rstrip("0123456789")
    return f"{name} {lane.removeprefix(name)}".strip().capitalize()


def _call(step: Step) -> str:
    """Return what `step` calls, for example "add lease" or "set row 1"."""
    if step.swap:
        new = step.swap.value
        kinds: dict[type, str] = {Row: "row", Lease: "lease", Holds: "holds"}
        what = "expire" if new is EXPIRE else kinds[type(new)]
        return f"{'add' if step.swap.seen == Seen(None, None) else 'cas'} {what}"
    if step.kind in ("set", "add"):
        if isinstance(step.value, Row):
            return f"{step.kind} row"
        return f"{step.kind} {'None' if step.value is None else f'row {step.value.number}'}"
    return step.kind


def _code(frame: FrameType | None) -> Code | None:
    """Return the line that makes the call: in a recipe if there is one, else in the program."""
    program = None
    while frame:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(RECIPES):
            return _line(module, frame)
        if program is None and module.startswith(PROGRAMS):
            program = _line(module, frame)
        frame = frame.f_back
    return program


def _line(module: str, frame: FrameType) -> Code:
    """Return the current line of `frame`, and the function that it belongs to."""
    name, _, _ = frame.f_code.co_qualname.partition(".<locals>")
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return Code(f"{module}.{name}", line.strip())
