"""A writer of rows that keeps them, for tests of what a training logs."""

from bnexp.runs.rows import Values


class Rows:
    """Keeps the rows that a training writes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self.rows.append({"step": step, **values})

    def histograms(self, step: int, values: dict[str, Values]) -> None:
        pass

    def close(self) -> None:
        pass
