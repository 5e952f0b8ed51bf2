import cars.alphabet
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cars", "0001_initial"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="car",
            options={
                "ordering": (
                    cars.alphabet.Alphabetical("make"),
                    cars.alphabet.Alphabetical("model"),
                    "pk",
                )
            },
        ),
        migrations.RemoveIndex(
            model_name="car",
            name="car_by_name",
        ),
        migrations.AddIndex(
            model_name="car",
            index=models.Index(
                cars.alphabet.Alphabetical("make"),
                cars.alphabet.Alphabetical("model"),
                models.F("id"),
                name="car_by_name",
            ),
        ),
    ]
