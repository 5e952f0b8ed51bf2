"""Walks over the schedules of a case: what they need, and what they prove.

determined    makes a run depend on its schedule only: the clock stands still, tokens are counted,
              and each actor is a process that knows what is owed as of its last look
touches       what a step reads and writes, and what a state is: used to leave schedules out
walk          which schedules are run: all of them, some at random, or one again
rules         the rules of the protocol, each of which can be switched off
outage_rules  those for a cache that doesn't answer
cases         which cases are walked
database      a test database with the lab's models

`determined` and `rules` patch the recipe in the whole process. So walks never run in a process that
serves pages.
"""
