"""The one table of the recipe: withdrawals that are owed. It is empty in normal work."""

from django.db import models


class Owed(models.Model):
    """The withdrawals of one writer's holds that are still to be done, on up to 500 entries.

    See `owed`, which writes and reads the records.
    """

    id = models.BigAutoField(primary_key=True)
    cache = models.CharField(max_length=32)  # `SwapCache.shared_as()`
    model = models.CharField(max_length=250)  # the label of the cached model
    token = models.CharField(max_length=16)  # of the holds
    names = models.TextField()  # of the entries on the server, separated by spaces
    since = models.DateTimeField()  # by the database's clock
    under_way = models.BooleanField()  # the write may not have ended yet

    class Meta:
        verbose_name = "owed withdrawal"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.token} on {self.names}"
