"""How fast and how small the recipe is, beside what else there is. `python -m benchmarks`"""
