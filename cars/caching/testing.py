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

    Before such a test Django empties the tables where no signal tells of it, so that the rows of
    the test before would still be served. A TestCase needs no mixin.
    """

    def setUp(self) -> None:
        # A version of the keys that nobody else has.
        version = {"VERSION": randbits(32)}
        fresh = {name: config | version for name, config in settings.CACHES.items()}
        self.enterContext(self.settings(CACHES=fresh))
        self.addCleanup(close_caches)
        super().setUp()
