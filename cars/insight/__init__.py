"""What shows the cache at work.

lookups  the hits and misses of each page, and the middleware that counts them
panels   the panel "Objects" of the debug toolbar
source   the recipe's own source, for the start page
watch    the page /watch/: what Memcached does, live
"""
