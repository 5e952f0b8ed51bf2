"""The lab: what proves the recipe.

faults     lets servers fail while the site is used, and says what its users notice
servers    starts a Memcached, a PostgreSQL or the site for a limited time
models     the rows that the schedules work on
schedules  runs one schedule of a few readers and writers, step by step
walks      runs all schedules of a case, also with one of the protocol's rules switched off
storm      processes that read and write the same rows on real servers, and count stale reads
mutants    changes the recipe a little, and sees whether a test notices

The app "cars.lab" is installed only where its models are needed: by the tests and by the commands
that use the lab.
"""
