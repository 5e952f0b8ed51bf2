"""The samples of a run."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Samples:
    """Samples by database, measure and contestant; the same index is the same round."""

    by_database: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)

    def add(self, database: str, measure: str, contestant: str, values: Iterable[float]) -> None:
        """Add samples; times are in microseconds."""
        measures = self.by_database.setdefault(database, {})
        samples = measures.setdefault(measure, {}).setdefault(contestant, [])
        samples.extend(round(value, 3) for value in values)

    def of(self, database: str, measure: str, contestant: str) -> list[float]:
        """Return the samples, an empty list if there are none."""
        return self.by_database.get(database, {}).get(measure, {}).get(contestant, [])

    def median(self, database: str, measure: str, contestant: str) -> float | None:
        """Return the median of the samples, None if there are none."""
        samples = self.of(database, measure, contestant)
        return median(samples) if samples else None

    def ratio(self, database: str, measure: str, contestant: str, to: str) -> float | None:
        """Return the contestant's ratio to `to`: the median of the ratios of the rounds.

        None if one of them has no samples.
        """
        ones, others = (self.of(database, measure, name) for name in (contestant, to))
        if not (ones and others):
            return None
        ratios = [one / other for one, other in zip(ones, others, strict=True) if other]
        return median(ratios) if ratios else None
