"""The page /watch/: what Memcached does, shown live from its log."""
