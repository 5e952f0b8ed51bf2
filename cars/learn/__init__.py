"""The tutorial at /learn/: break a cache, then be its scheduler.

cases      who is at work, and what may fail
scenarios  the recipes, and the rules that can be switched off
shown      the runs that the texts show
runs       what a run is, as data: its steps, and what stands in the cache after each
stage      plays a run step by step, on the lab's scheduler
words      the words for a step, a lane, and what a read was
lines      which line of code makes a call
search     the shortest schedule that ends in a stale or dirty read
proofs     the tests that show the exceptions
recorded   the runs and the grid that the repository keeps
lot        writes a car of the site in each way that signals miss

`stage` and `search` need the app `cars.lab` and patch the recipe in their process. So they never
run in a process that serves pages.
"""
