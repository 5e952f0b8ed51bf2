"""Other recipes for caching objects, to compare `cars.caching` with: one in each module.

set_on_save  the recipe of 2009, as it was first published
"""
