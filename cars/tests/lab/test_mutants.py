"""Mutants of the recipe: how they are made and tried, and the command on a small sample."""

import os
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from unittest.mock import patch

import psutil
from django.conf import settings
from django.test import SimpleTestCase, tag

from cars.caching import entries
from cars.caching.entries import ABSENT, TICK
from cars.lab.mutants.changes import drawn, mutants_of
from cars.lab.mutants.recording import Recording
from cars.lab.mutants.results import RESULTS, Results, equivalent, read_results
from cars.lab.mutants.trial import Outcome, apply, functions_of, watched
from cars.management.commands.mutants import MODULES, kept

ENTRIES = Path(entries.__file__)
MIN_FOR_MAX = "entries.put_holds: max(deadlines.values()) -> min(deadlines.values())"


def mutants_of_function(body):
    """Return the mutants of a function of the module `m` with this body."""
    return mutants_of("m", f"def f(a, b):\n    {body}\n")


@tag("any-database")
class ChangesTests(SimpleTestCase):
    def assertChanges(self, body, *expected):
        """Assert that a function with this body can be changed so, and in no other way."""
        changes = [mutant.name.removeprefix("m.f: ") for mutant in mutants_of_function(body)]
        self.assertEqual(changes, list(expected))

    def test_a_comparison_is_negated_and_takes_or_leaves_the_limit(self):
        self.assertChanges("c = a < b", "a < b -> a <= b", "a < b -> a >= b")
        self.assertChanges("c = a is b", "a is b -> a is not b")

    def test_a_condition_loses_each_part(self):
        changes = ["a and b -> a or b", "a and b -> b", "a and b -> a"]
        self.assertChanges("c = a and b", *changes)

    def test_a_comprehension_loses_its_condition(self):
        self.assertChanges(
            "c = [d for d in a if d not in b]",
            "[d for d in a if d not in b] -> [d for d in a]",
            "d not in b -> d in b",
        )

    def test_a_statement_is_left_out(self):
        self.assertChanges("a(b)", "without a(b)")
        self.assertChanges("a.b = b", "without a.b = b")
        self.assertChanges("raise a", "without raise a")

    def test_operators_numbers_and_functions_are_replaced(self):
        self.assertChanges("c = min(a, b)", "min(a, b) -> max(a, b)")
        self.assertChanges("c = a | b", "a | b -> a", "a | b -> b")
        self.assertChanges("c = 1", "1 -> 2")
        self.assertChanges("c = True", "True -> False")

    def test_types_defaults_docstrings_and_constants_stay(self):
        source = '''
            LIMIT = 1
            class C:
                """A class."""
                one: int | None = 1
                def f(a: int | None = 1) -> int | None:
                    """Do nothing."""
            '''
        self.assertEqual(mutants_of("m", dedent(source)), [])

    def test_equal_changes_of_a_function_have_names_of_their_own(self):
        self.assertChanges("c = 1, 1", "1 -> 2", "1 -> 2 (2)")

    def test_each_mutant_of_the_recipe_is_another_module_with_another_name(self):
        source = ENTRIES.read_text()
        mutants = mutants_of("entries", source)
        self.assertEqual(len({mutant.name for mutant in mutants}), len(mutants))
        for mutant in mutants:
            compile(mutant.source, mutant.name, "exec")
            self.assertNotEqual(mutant.source, source)
        self.assertIn(MIN_FOR_MAX, [mutant.name for mutant in mutants])

    def test_a_seed_draws_the_same_mutants_and_most_of_them_after_a_change(self):
        mutants = mutants_of_function("return [a < b, a + b, a and b, min(a, b), not a]")
        before = drawn(mutants, 6, seed=1)
        self.assertEqual(drawn(reversed(mutants), 6, seed=1), before)
        self.assertNotEqual(drawn(mutants, 6, seed=2), before)
        mutants.remove(before[0])
        self.assertEqual(drawn(mutants, 6, seed=1)[:5], before[1:])


@tag("any-database")
class TrialTests(SimpleTestCase):
    def test_functions_run_the_code_of_a_mutant_until_they_are_given_their_own_again(self):
        (mutant,) = (m for m in mutants_of("entries", ENTRIES.read_text()) if m.name == MIN_FOR_MAX)
        self.addCleanup(apply, "entries", ENTRIES.read_text())
        for source, seconds in ((mutant.source, 1), (ENTRIES.read_text(), 2)):
            apply("entries", source)
            with patch.object(entries.time, "time", return_value=0):
                swap = entries.put_holds(ABSENT, {"a": 1, "b": 2})
            self.assertEqual(swap.timeout, seconds + TICK)

    def test_each_function_that_has_mutants_can_be_given_their_code(self):
        for module in MODULES:
            code = import_module(f"cars.caching.{module}")
            known = tuple(f"{module}.{f.__qualname__}" for _, f in functions_of(code))
            mutants = mutants_of(module, Path(code.__file__).read_text())
            names = {mutant.name.partition(":")[0] for mutant in mutants}
            self.assertEqual([name for name in names if not name.startswith(known)], [])

    def test_a_mutant_is_killed_by_the_test_that_fails(self):
        def fail():
            os.write(1, b"FAIL: test_one (cars.tests.Tests.test_one)\n")
            return 1

        self.assertEqual(watched(fail, 60), (Outcome.KILLED, "cars.tests.Tests.test_one"))
        self.assertEqual(watched(lambda: [][0], 60), (Outcome.KILLED, ""))
        self.assertEqual(watched(lambda: 0, 60), (Outcome.SURVIVED, ""))

    def test_a_mutant_that_hangs_is_ended_with_all_that_it_has_started(self):
        with TemporaryDirectory() as folder:
            path = Path(folder, "pid")

            def hang():
                command = [sys.executable, "-c", "while True: pass"]
                child = subprocess.Popen(command, start_new_session=True)
                path.write_text(str(child.pid))
                while True:
                    time.sleep(1)

            self.assertEqual(watched(hang, 0.5), (Outcome.TIMED_OUT, ""))
            pid = int(path.read_text())
        with self.assertRaises(psutil.NoSuchProcess):
            psutil.Process(pid).wait(10)
            psutil.Process(pid)

    def test_the_tests_that_reach_a_line_run_the_quickest_first(self):
        recording = Recording(
            seconds={"slow": 5, "b": 0.2, "a": 0.1, "other": 0.1},
            reached={"slow": {"m": [3]}, "b": {"m": [3]}, "a": {"m": [2, 3]}, "other": {"n": [3]}},
            first={"m": [1]},
        )
        self.assertEqual(recording.stages("m", range(3, 4), 1), (["a", "b"], ["slow"], []))
        self.assertEqual(recording.stages("m", range(1, 2), 1), ([], [], ["b", "a", "other"]))


@tag("any-database")
class ResultsTests(SimpleTestCase):
    def setUp(self):
        self.file = Path(self.enterContext(TemporaryDirectory()), "results.txt")
        self.mutants = mutants_of_function("return a < b | 1")
        killed, survived, *_ = [mutant.name for mutant in self.mutants]
        self.results = Results(9, "abc", 7, 3)
        self.results.found = {
            killed: (Outcome.KILLED, "cars.tests.T.test_one"),
            survived: (Outcome.SURVIVED, ""),
        }
        self.file.write_text(str(self.results))

    def test_they_are_read_as_they_were_written(self):
        self.assertEqual(read_results(self.file), self.results)

    def test_they_are_kept_unless_the_revision_or_the_seed_is_another(self):
        new = partial(Results, mutants=7, drawn=3)
        keep = partial(kept, self.file, chosen=self.mutants)
        self.assertEqual(keep(new=new(9, "abc"), again=False), self.results.found)
        self.assertEqual(keep(new=new(8, "abc"), again=False), {})
        self.assertEqual(keep(new=new(9, "abd"), again=False), {})

    def test_those_that_were_not_killed_can_be_run_again(self):
        new = Results(9, "abc", 7, 3)
        found = kept(self.file, new, self.mutants, again=True)
        self.assertEqual([outcome for outcome, _ in found.values()], [Outcome.KILLED])

    def test_the_committed_list_has_no_survivor_and_each_equivalent_mutant_its_reason(self):
        results = read_results(RESULTS)
        self.assertEqual(results.of(Outcome.SURVIVED), [])
        self.assertLessEqual(set(results.of(Outcome.EQUIVALENT)), equivalent())


@tag("any-database")
class CommandTests(SimpleTestCase):
    def test_it_runs_the_tests_of_each_mutant_and_lists_the_survivors(self):
        environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        with TemporaryDirectory() as folder:
            file = Path(folder, "results.txt")
            command = [sys.executable, "manage.py", "mutants", "--module", "entries"]
            command += ["--tests", "cars.tests.recipe.test_entries", "--file", str(file)]
            done = subprocess.run(
                command,
                cwd=settings.BASE_DIR,
                env=environ,
                capture_output=True,
                text=True,
                timeout=300,
            )
            self.assertTrue(file.exists(), done.stderr)
            results = read_results(file)
        self.assertEqual(len(results.found), results.drawn, done.stderr)
        self.assertEqual(results.found[MIN_FOR_MAX][0], Outcome.KILLED)
        self.assertIn("test_the_entry_stands_until", results.found[MIN_FOR_MAX][1])
        survivor = "entries.new_token: return None, not token_hex(8)"
        self.assertEqual(results.found[survivor][0], Outcome.SURVIVED)
        self.assertIn(survivor, done.stderr)
        self.assertEqual(done.returncode, 1)
