"""Walks over the schedules of a case: what they need, and what they prove.

determined  makes a run follow from its schedule alone: the clock stands still, tokens are counted
touches     what a step reads and writes, and what a state is: for leaving schedules out
walk        which schedules are run: all of them, some at random, or one again
rules       the rules of the protocol, each to be switched off
cases       which cases are walked

`determined` and `rules` patch the recipe in the whole process, so walks never run in a process that
serves pages.
"""
