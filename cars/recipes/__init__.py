"""Other recipes, to compare with ours: each module is one.

set_on_save  the recipe of 2009, as it was first published
"""
