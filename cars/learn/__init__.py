"""The tutorial at /learn/: break a cache, then be its scheduler.

scenarios  the recipes and cases that can be chosen
runs       what a run is, as data: its steps, and what stands in the cache after each
stage      plays a run step by step, on the lab's scheduler
lines      which line of code makes a call
search     the shortest schedule that ends in a stale or dirty read
proofs     the tests that show the exceptions
recorded   the runs and the grid that the repository keeps

`stage` and `search` need the app `cars.lab` and patch the recipe in their process. So they never
run in a process that serves pages.
"""
