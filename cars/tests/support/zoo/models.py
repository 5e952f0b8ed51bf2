"""One model for each feature that a cache of rows has to cover."""

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models.functions import Lower

from cars.caching import CacheManager
from cars.caching.queryset import CacheQuerySet

from .fields import LabelAutoField, LabelField, PointField, SecretField, WordField


class Plain(models.Model):
    """A cached model with few fields."""

    name = models.CharField(max_length=50)
    number = models.IntegerField(default=0)

    objects = CacheManager()


class PlainProxy(Plain):
    """A proxy: another class for the same rows."""

    class Meta:
        proxy = True


class Uuid(models.Model):
    """A pk that is known before the row is inserted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=50, unique=True)
    number = models.IntegerField(default=0)

    objects = CacheManager()


class Text(models.Model):
    """A pk that can be an invalid Memcached key."""

    id = models.CharField(primary_key=True, max_length=500)
    name = models.CharField(max_length=50, blank=True)

    objects = CacheManager()


class Defaulted(models.Model):
    """A pk that the database can choose by an expression."""

    id = models.CharField(primary_key=True, max_length=50, db_default=Lower(models.Value("ONE")))
    name = models.CharField(max_length=50, blank=True)

    objects = CacheManager()


class Blob(models.Model):
    """A pk that is bytes, or a memoryview of bytes."""

    id = models.BinaryField(primary_key=True)
    name = models.CharField(max_length=50, blank=True)

    objects = CacheManager()


class Pair(models.Model):
    """A pk of two columns."""

    pk = models.CompositePrimaryKey("left", "right")
    left = models.IntegerField()
    right = models.CharField(max_length=50)
    name = models.CharField(max_length=50, blank=True)

    objects = CacheManager()


class Animal(models.Model):
    """A parent by multi-table inheritance."""

    name = models.CharField(max_length=50)

    objects = CacheManager()


class Dog(Animal):
    """A child by multi-table inheritance: it shares the row of its parent."""

    tricks = models.IntegerField(default=0)


class Puppy(Dog):
    """A child of a child: three tables, one row."""

    age = models.IntegerField(default=0)


class Named(models.Model):
    """The abstract base of two models, with their manager."""

    name = models.CharField(max_length=50)

    objects = CacheManager()

    class Meta:
        abstract = True


class Boat(Named):
    """A model with an abstract base."""


class Train(Named):
    """Another model with the same abstract base."""


class ShelfQuerySet(models.QuerySet):
    """A custom QuerySet that doesn't know of the recipe."""

    def named(self, name):
        return self.filter(name=name)


class Shelf(models.Model):
    """A cached model with a custom QuerySet."""

    name = models.CharField(max_length=50)

    objects = CacheManager.from_queryset(ShelfQuerySet)()


class DrawerQuerySet(CacheQuerySet):
    """A custom QuerySet with CacheQuerySet as its base."""

    def rename(self, name):
        return self.update(name=name)


class DrawerManager(CacheManager.from_queryset(DrawerQuerySet)):
    """A custom manager, with a natural key."""

    def get_by_natural_key(self, name):
        return self.get(name=name)


class Drawer(models.Model):
    """A cached model with a custom QuerySet, a custom manager and a natural key."""

    name = models.CharField(max_length=50, unique=True)
    size = models.IntegerField(default=0)

    objects = DrawerManager()

    def natural_key(self):
        return (self.name,)


class Uncached(models.Model):
    """The fields of Drawer, without a CacheManager."""

    name = models.CharField(max_length=50, unique=True)
    size = models.IntegerField(default=0)


class Amount(models.Model):
    """A pk that is a Decimal."""

    id = models.DecimalField(primary_key=True, max_digits=10, decimal_places=2)
    name = models.CharField(max_length=50, blank=True)

    objects = CacheManager()


class Moment(models.Model):
    """A pk that is a datetime."""

    id = models.DateTimeField(primary_key=True)
    name = models.CharField(max_length=50, blank=True)

    objects = CacheManager()


class Booking(models.Model):
    """Unique by two columns that are not the pk."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    room = models.IntegerField()
    day = models.DateField()
    name = models.CharField(max_length=50, blank=True)

    objects = CacheManager()

    class Meta:
        constraints = [models.UniqueConstraint("room", "day", name="zoo_booking_unique")]


class Keeper(models.Model):
    """The target of foreign keys of Pet."""

    name = models.CharField(max_length=50)


def default_keeper() -> Keeper:
    """Return the keeper of pets whose keeper was deleted (an `on_delete` of Pet)."""
    return Keeper.objects.get_or_create(name="default")[0]


class Tag(models.Model):
    """Refers to a row of any model by a generic relation."""

    word = models.CharField(max_length=50)
    # Without a constraint: this app has no migrations, so its tables are created before that one.
    content_type = models.ForeignKey(ContentType, models.CASCADE, null=True, db_constraint=False)
    object_id = models.PositiveIntegerField(null=True)
    on = GenericForeignKey()

    objects = CacheManager()


def orphan(collector, field, sub_objs, using):
    """Do what SET_NULL does (a custom `on_delete`)."""
    collector.add_field_update(field, None, sub_objs)


class License(models.Model):
    """A pk that is a foreign key."""

    keeper = models.OneToOneField(Keeper, models.CASCADE, primary_key=True)
    name = models.CharField(max_length=50, blank=True)

    objects = CacheManager()


class Visit(models.Model):
    """Has the `on_delete`s that Pet doesn't have."""

    name = models.CharField(max_length=50)
    guide = models.ForeignKey(Keeper, models.SET(None), null=True, related_name="guided")
    guest = models.ForeignKey(Keeper, orphan, null=True, related_name="visits")
    host = models.ForeignKey("KeeperProxy", orphan, null=True, related_name="hosted")

    objects = CacheManager()


class Club(models.Model):
    """Has a many-to-many relation whose rows are cached."""

    members = models.ManyToManyField(Keeper, through="Membership")


class Membership(models.Model):
    """A row of a many-to-many relation."""

    club = models.ForeignKey(Club, models.CASCADE)
    keeper = models.ForeignKey(Keeper, models.CASCADE)
    role = models.CharField(max_length=50, blank=True)

    objects = CacheManager()


class Pet(models.Model):
    """Written by Django itself when a Keeper is deleted."""

    name = models.CharField(max_length=50)
    owner = models.ForeignKey(Keeper, models.SET_NULL, null=True, related_name="pets")
    vet = models.ForeignKey(
        Keeper, models.SET_DEFAULT, null=True, default=None, related_name="patients"
    )
    walker = models.ForeignKey(Keeper, models.SET(default_keeper), null=True, related_name="walks")
    home = models.ForeignKey(Keeper, models.CASCADE, null=True, related_name="guests")
    friends = models.ManyToManyField(Keeper, related_name="friends_of")
    tags = GenericRelation(Tag)

    objects = CacheManager()


class KeeperProxy(Keeper):
    """A proxy that is prepared after the models that refer to Keeper."""

    class Meta:
        proxy = True


class Refused(Exception):
    """Raised by `save` of Fussy."""


class Fussy(models.Model):
    """A model whose `save` can raise, before or after it has written."""

    name = models.CharField(max_length=50)

    objects = CacheManager()

    def save(self, *args, **kwargs):
        if self.name == "refuse before":
            raise Refused
        super().save(*args, **kwargs)
        if self.name == "refuse after":
            raise Refused


class Everything(models.Model):
    """One field of each of Django's types."""

    big = models.BigIntegerField(null=True)
    binary = models.BinaryField(null=True)
    boolean = models.BooleanField(null=True)
    char = models.CharField(max_length=100, null=True)
    date = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    decimal = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    duration = models.DurationField(null=True)
    email = models.EmailField(null=True)
    file = models.FileField(null=True)
    path = models.FilePathField(null=True)
    float = models.FloatField(null=True)
    generated = models.GeneratedField(
        expression=models.F("integer") + 1, output_field=models.IntegerField(), db_persist=True
    )
    integer = models.IntegerField(null=True)
    ip = models.GenericIPAddressField(null=True)
    json = models.JSONField(null=True)
    positive = models.PositiveIntegerField(null=True)
    positive_big = models.PositiveBigIntegerField(null=True)
    positive_small = models.PositiveSmallIntegerField(null=True)
    slug = models.SlugField(null=True)
    small = models.SmallIntegerField(null=True)
    text = models.TextField(null=True)
    time = models.TimeField(null=True)
    url = models.URLField(null=True)
    uuid = models.UUIDField(null=True)
    one = models.OneToOneField(Keeper, models.CASCADE, null=True)
    other = models.ForeignKey(Plain, models.CASCADE, null=True)

    objects = CacheManager()


class Custom(models.Model):
    """Custom fields, and foreign keys to pks that are not numbers."""

    point = PointField(max_length=100, null=True)
    word = WordField(null=True)
    to_uuid = models.ForeignKey(Uuid, models.CASCADE, null=True)
    to_amount = models.ForeignKey(Amount, models.CASCADE, null=True)
    to_moment = models.ForeignKey(Moment, models.CASCADE, null=True)

    objects = CacheManager()


class Unpackable(models.Model):
    """A field whose values can't be packed."""

    name = models.CharField(max_length=50)
    secret = SecretField(null=True)

    objects = CacheManager()


class KeptManager(CacheManager):
    """Leaves out the rows that are marked as deleted."""

    def get_queryset(self):
        return super().get_queryset().filter(deleted=False)


class CountedManager(CacheManager):
    """Adds an annotation to each row."""

    def get_queryset(self):
        return super().get_queryset().annotate(twice=models.F("id") * 2)


class Letter(models.Model):
    """A row that is marked as deleted, not deleted, and managers that change what is read."""

    name = models.CharField(max_length=50)
    deleted = models.BooleanField(default=False)

    objects = CacheManager()
    kept = KeptManager()
    counted = CountedManager()


class PolitePlain(Plain):
    """A proxy with an `__init__` and a `from_db` that its model doesn't have."""

    class Meta:
        proxy = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.greeting = f"Dear {self.name}"

    @classmethod
    def from_db(cls, db, field_names, values):
        instance = super().from_db(db, field_names, values)
        instance.made_by = "PolitePlain"
        return instance


class CrateQuerySet(models.QuerySet):
    """A custom QuerySet with an `update` that counts its calls."""

    updates = 0

    def update(self, **values):
        CrateQuerySet.updates += 1
        return super().update(**values)


class Crate(models.Model):
    """A cached model whose QuerySet has an `update`."""

    name = models.CharField(max_length=50)

    objects = CacheManager.from_queryset(CrateQuerySet)()


class WorkerManager(CacheManager):
    """A manager that migrations use."""

    use_in_migrations = True

    def create_named(self, name):
        return self.create(name=name.title())


class Worker(models.Model):
    """A cached model whose manager migrations use."""

    name = models.CharField(max_length=50)

    objects = WorkerManager()


class Parcel(models.Model):
    """A pk that can't be hashed."""

    id = LabelField(primary_key=True, max_length=50)
    name = models.CharField(max_length=50)

    objects = CacheManager()


class Ticket(models.Model):
    """A pk that its field returns but doesn't take, so that no write can hold it."""

    id = LabelAutoField(primary_key=True)
    name = models.CharField(max_length=50)

    objects = CacheManager()
