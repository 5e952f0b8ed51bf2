"""Play a run, step by step, on the lab's scheduler. See `cars.learn` for where this may run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cars.caching.entries import State
from cars.lab.schedules.actors import Actor
from cars.lab.schedules.scene import PlainEntry
from cars.lab.schedules.steps import WRITES, Step
from cars.lab.schedules.world import FAILS, FAILS_DONE, World
from cars.lab.walks.determined import determined_world
from cars.lab.walks.rules import without

from .lines import code_of
from .runs import Choice, Code, Entry, Frame, Lane, Run, in_words
from .scenarios import HERE, Scenario
from .words import VISITOR, call_of, sentence_of, title_of

FAULTS = {
    "lost": "The cache loses the entry",
    "later": "Time passes: the entry ends",
    "restart": "The server is restarted",
}
# What can happen to a lane, by the world's name for it: the beginning of its id, and what is said.
# A call without an answer is a step of its lane.
KILL = "kill"
OF_A_LANE = {
    KILL: ("kill-", "is killed"),
    FAILS: ("silent-", "no answer, not done"),
    FAILS_DONE: ("silent-done-", "no answer, but done"),
}
CACHE_CALLS = ("get", "gets", "cas", "add", "set", "delete")


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
        lanes = {actor.name: "reader" for actor in world.actors}
        lanes |= {actor.name: "writer" for actor in world.writers}
        lanes |= {name: "process" for name, word in world.words.items() if word == "look"}
        for kind in ("writer", "reader", "process"):
            names = [name for name, lane in lanes.items() if lane == kind]
            for number, name in enumerate(names, 1):
                self.ids[name] = f"{kind}{number}" if len(names) > 1 else kind
        self.lanes = [Lane(i, title_of(i), i.startswith("writer")) for i in self.ids.values()]
        self.lanes.append(Lane(VISITOR, title_of(VISITOR), writes=False))
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
            else:
                what, _, actor = name.rpartition(" ")
                lane = self.ids[actor]
                before, told = OF_A_LANE.get(what, ("", ""))
                pending = self.world.by_name[actor].pending
                if what != KILL and pending:
                    told = f"{call_of(pending)}: {told}" if told else call_of(pending)
                yield Choice(before + lane, title_of(lane), told)

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
        what, _, actor = name.rpartition(" ")
        if name in FAULTS or what == KILL:
            self.world.take(name)
            if what == KILL:
                return [self._frame(self.ids[actor], OF_A_LANE[KILL][1], "")]
            return [self._frame("", FAULTS[name], "cache")]
        frames = [self._step(name)]
        # PostgreSQL's driver sends BEGIN with the first statement: so that a schedule means the
        # same on each database, it is no step to choose.
        if frames[0].call == "BEGIN" and name in self.world.able:
            frames.append(self._step(name))
        return frames

    def _step(self, name: str) -> Frame:
        what, _, actor_name = name.rpartition(" ")
        actor = self.world.by_name[actor_name]
        step, code = actor.pending, code_of(actor.stack())
        assert step
        is_cut_off = actor.link.broken or actor.link.fails
        is_silent = bool(what) or (is_cut_off and step.kind in CACHE_CALLS)
        self.world.take(name)
        return self._frame_of(actor, step, code, is_silent)

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
        program = "read-looked" if world.owes else "read"  # who comes later, has looked
        frames = []
        try:
            visitor.begin(world.case.program(program), world)
            while step := visitor.pending:
                world.verdict = None
                code = code_of(visitor.stack())
                visitor.resume()
                world.look()
                frames.append(self._frame_of(visitor, step, code))
        finally:
            visitor.end()
        if visitor.error:
            raise visitor.error
        return frames

    # Frames

    def _frame_of(
        self, actor: Actor, step: Step, code: Code | None, is_silent: bool = False
    ) -> Frame:
        lane = self.ids[actor.name]
        target = "cache" if step.kind in CACHE_CALLS else "database"
        verdict = self.world.verdict or ""
        sentence = sentence_of(self.world, actor, title_of(lane)) if verdict else ""
        result = "no answer" if is_silent else self._result(actor, step)
        return self._frame(lane, call_of(step), target, result, str(verdict), sentence, code)

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
        writing = title_of(self.ids[lock.owner]) if lock and lock.written else ""
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
        owners = sorted({self._owner(token) for token in entry.tokens})
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
        if step.kind == "SELECT" and step.owed:
            return self._owed()
        if step.kind == "SELECT":
            seen = self.world.visible_to(actor)
            return "no row" if seen is None else f"row {seen}"
        if step.kind in WRITES:
            return "1 row" if step.rows == 1 else f"{step.rows} rows"
        return ""

    def _owed(self) -> str:
        owners = sorted({self._owner(token) for token, _ in self.world.records.values()})
        return f"owed by {' and '.join(owners).lower()}" if owners else "nothing"

    def _owner(self, token: str) -> str:
        return title_of(self.ids[token.rpartition("-")[0]])
