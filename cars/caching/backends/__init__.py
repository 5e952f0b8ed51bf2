"""Django cache backends that can compare and swap.

base          what the backends have in common: readers that hide leases and holds
memcached     Memcached, by pymemcache
client        pymemcache's clients, as `memcached` needs them
timed         one deadline for each command
server        what this process knows of a server
serde         values as bytes, and back
listing       what a Memcached server has
local_memory  the memory of one process, for trying out

With OPTIONS = {"pickle": False} nothing that is read is unpickled: besides rows, only plain data
can be stored (strings, bytes, numbers, booleans, None, and lists and dicts of those), and a pickle
is a miss.
"""

from .base import SwapMixin
from .local_memory import LocalMemoryCache
from .memcached import MemcachedCache

__all__ = ["LocalMemoryCache", "MemcachedCache", "SwapMixin"]
