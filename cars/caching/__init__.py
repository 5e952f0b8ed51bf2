"""Django objects in Memcached, kept right by signals: the recipe.

Put `objects = CacheManager()` on a model; then `Model.objects.cache(pk)` reads through the cache.
"""
