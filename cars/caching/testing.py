"""For the tests of a project that uses the recipe."""

from secrets import randbits
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.cache import close_caches

if TYPE_CHECKING:
    from django.test import TransactionTestCase as Base
else:
    Base = object


class FreshCacheMixin(Base):
    """Gives each test of a TransactionTestCase an empty cache, and leaves the server as it is.

    After each such test Django empties the tables without signals. So the next test would still be
    served the cached rows. A TestCase needs no mixin.
    """

    def setUp(self) -> None:
        # A version of the keys that is used nowhere else.
        version = {"VERSION": randbits(32)}
        fresh = {name: config | version for name, config in settings.CACHES.items()}
        self.enterContext(self.settings(CACHES=fresh))
        self.addCleanup(close_caches)
        super().setUp()
