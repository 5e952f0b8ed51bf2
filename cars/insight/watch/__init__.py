"""The page /watch/: what Memcached does, live, from its own log."""
