"""Run one schedule of the recipe's own code, step by step.

steps     every cache call, every SQL statement on the row, every COMMIT and ROLLBACK
actors    the recipe's own code in greenlets, which stop before each step
programs  what actors run: the kinds of writers and readers, and the cases made of them
scene     the row, its entry in the cache, and the actors
verdicts  what goes wrong
world     one run: which actors can take a step, and what follows from it

A run patches nothing in its process: each actor has a separate connection and a separate cache,
both under the alias "default" only while it runs.
"""
