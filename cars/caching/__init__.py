"""Django objects in Memcached, kept right by signals: the recipe."""

from . import hooks
from .manager import CacheManager

__all__ = ["CacheManager", "hooks"]
__version__ = "1.0"
