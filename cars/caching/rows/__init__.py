"""Rows: the values of a database row, packed for the cache, and made an instance again.

packing      values to bytes and back
fingerprint  which model, schema and database a packed row is of
instances    values to an instance
"""

from .fingerprint import PARTS, SIZE, fingerprint_of
from .instances import make_instance
from .packing import is_same, pack, pk_in, unpack, unpack_any, unpack_many

__all__ = [
    "PARTS",
    "SIZE",
    "fingerprint_of",
    "is_same",
    "make_instance",
    "pack",
    "pk_in",
    "unpack",
    "unpack_any",
    "unpack_many",
]
