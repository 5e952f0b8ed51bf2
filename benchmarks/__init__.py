"""How fast and how small the recipe is, compared with other caches: `python -m benchmarks`."""
