"""Hot rows that many processes read and write at once, on real servers: is a read ever stale?"""
