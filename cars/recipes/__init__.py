"""Other recipes for caching objects, to compare `cars.caching` with: one in each module.

set_on_save       the recipe of 2009, as it was first published
none_on_save      a repair from a talk of 2009: `add` when filling, None for 5 seconds after a save
set_on_commit     a repair: put the saved instance only after the COMMIT
delete_on_commit  a repair: delete the entry after the COMMIT, and let the next reader fill it

They are short, and each serves stale objects: `manage.py races` shows when. Don't use them.
"""
