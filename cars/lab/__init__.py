"""The lab: what proves the recipe.

servers    a Memcached, a PostgreSQL or the site, started for a while
models     the rows that the schedules work on
schedules  one schedule of a few readers and writers, run step by step
walks      all schedules of a case, and the protocol's rules, switched off one by one
storm      processes that read and write the same rows on real servers, and count stale reads

The app "cars.lab" is installed only where its models are needed: by the tests and by the commands
that use the lab.
"""
