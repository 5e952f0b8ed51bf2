"""Every interleaving of the real code: a deterministic scheduler, and walks over its schedules.

steps       every cache call, every SQL statement on the row, every COMMIT and ROLLBACK
actors      threads that stop before each step
determined  what makes their doings follow from the schedule alone
programs    what they do: the kinds of writers and readers, and cases made of them
world       one run: who may go on, and what goes wrong
touches     what a step reads and writes, and what a state is
walks       which schedules are run: all of them, so many at random, or one again
cases       which cases the tests walk
rules       the design's rules, each to be switched off
"""
