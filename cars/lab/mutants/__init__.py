"""Mutants of the recipe, by `manage.py mutants`: small changes that a test has to notice.

changes        all mutants of a module, each with its name, and the draw by a seed
recording      which tests reach which lines: the tests run once, under coverage
trial          runs the tests that reach a mutant, in a forked process, with a time limit
results        the committed list: reads and writes it
results.txt    what became of each mutant that was drawn
equivalent.txt the mutants that no test can notice, each with the reason

Why none of the mutation tools: cosmic-ray 8.7 runs one and the same command for every mutant, and
draws none by a seed. Two in five of its mutants replace a binary operator, here mostly the `|` of a
type or of two dicts, by operators that raise. It has no mutant without a statement, without the
condition of a comprehension, or with `min` in place of `max`. mutmut 3.8 runs pytest only, and puts
every function behind another one, which the tests of the map and the reference notice. mutatest had
its last release for Python 3.8.
"""
