"""The parts of the site that show the cache at work.

lookups  the hits and misses of each page, and the middleware that counts them
steps    the steps of a request's reads and writes, in words
writes   what a write did, as a message on the next page
panels   the panel "Objects" of the debug toolbar
source   the four lines of code on the start page
watch    the page /watch/, which shows live what Memcached does
"""
