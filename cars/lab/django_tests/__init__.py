"""Django's own tests with CacheManager in place of Manager, by `manage.py django_tests`.

source        the folder of Django's tests, from the source distribution of the installed version
run           runs them in a process of their own: `python -m cars.lab.django_tests.run LABEL...`
settings      the settings of that process
replacement   puts CacheManager in place of every plain manager; Django's files stay as they are
runner        compares what the cache serves with the database, before and after each test
comparison    what it compares
left_out.txt  the tests that are left out, each with its reason
"""
