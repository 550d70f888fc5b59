"""What several processes that train one network divide: every batch, and of some norms the statistics."""

from bnexp.config.layout import Layout


def divided_norms(layout: Layout) -> dict[str, str]:
    """Return the norms that take the statistics of each process's part of a batch: what they are, by their places."""
    placed = layout.placed
    return {place: each.item.name for place, each in placed.items() if each.item.kind.statistics_of_a_part}


def parts_of_batch(layout: Layout, processes: int) -> int:
    """Return in how many parts of a batch the norms take its statistics: 1 where they take those of the whole."""
    return processes if divided_norms(layout) else 1


def of_several_processes(layout: Layout) -> list[str]:
    """Say which statistics norms take where several processes divide a batch, a sentence for each kind of norm."""
    synchronized = sorted({each.item.name for each in layout.placed.values() if each.item.kind.synchronized})
    divided = sorted(set(divided_norms(layout).values()))
    each = [
        f"{name} takes the statistics of each one's part of a batch, and keeps the running ones of process 0"
        for name in divided
    ]
    return [*each, *(f"{name} takes the statistics of the whole batch" for name in synchronized)]


def told_of_division(layout: Layout, batch_size: int, processes: int) -> str | None:
    """Say what so many processes divide; None of a single one, unless a norm was chosen for several."""
    if processes > 1:
        parts = f"{processes} processes take {batch_size / processes:g} of each {batch_size} examples"
        return "; ".join([parts, *of_several_processes(layout)])
    if any(placed.item.kind.synchronized for placed in layout.placed.values()):
        return "sync_bn: in one process it is bn, which says so; docs/devices.md shows how to start several"
    return None
