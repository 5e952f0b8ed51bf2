"""One schedule of the project's own code, run step by step.

steps     every cache call, every SQL statement on the row, every COMMIT and ROLLBACK
actors    threads that stop before each step
programs  what actors do: the kinds of writers and readers, and cases made of them
world     one run: which actors may go on, and what goes wrong

A run patches nothing of its process: each actor is a thread with a connection and a cache of its
own under the alias "default".
"""
