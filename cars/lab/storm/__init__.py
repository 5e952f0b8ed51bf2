"""The storm: many processes read and write the same few rows on real servers. Is a read ever stale?

run      one storm, from its start to its figures
workers  what its processes do: readers, writers, and the look at rest
ledger   notes the writes of one process in the record, at the moments of their SQL and COMMIT
record   what all processes know of the rows, in shared memory, and the verdict on a read
models   the rows, cached by either recipe
"""
