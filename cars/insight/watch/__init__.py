"""The page /watch/: what Memcached does, shown live from its log.

log       parses the log of a server
server    asks one server for its log, its counters and its items
servers   watches several servers together
words     describes lines of the log and items, in words
recorder  follows the logs in a thread, and keeps the last minutes
stream    the stream of events behind an open page
table     the entries under the site's keys
views     the page and its stream, with a limited number of places
plug      the button that stops and starts the demo's Memcached
"""
