"""The faults: what the site does while one of its servers fails.

run        one fault, from the start of its servers to its figures
catalogue  the faults
breaking   how each begins and ends
stage      the servers and the site of a run
database   the database of a run, and a direct way to its rows
proxy      stands between the site and a Memcached, and answers wrong on demand
visitors   readers and an editor, who use the site's pages
history    what they have written and read, and the verdict on each read
rest       what is left in the cache after the last write
figures    a run in numbers, and the bounds that they have to keep
table      the figures of many runs, as text and in the documentation
serving    the same visitors under other web servers, without a fault
waits      how long a page of the site waits for a Memcached that doesn't answer
killed     a program that is killed at each step of a save
settings, pages, prepare
           the site of a run: one page more than usual, its rows and its account

The site is a black box: its pages are requested, and the database and Memcached are read directly.
Only its sockets to Memcached are measured within. So a run works with any version of the recipe.
"""
