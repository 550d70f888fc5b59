"""How figures are written for people. A spread is written with the decimals of the mean `beside` it."""


def percent(fraction: float, beside: float | None = None) -> str:
    """Write a fraction in percent, two decimals, without the sign."""
    return f"{100 * fraction:.2f}"


def loss(value: float, beside: float | None = None) -> str:
    """Write a loss with four decimals, or three digits where these would hide it."""
    size = abs(value if beside is None else beside)
    return f"{value:.4f}" if size == 0 or 0.001 <= size < 1000 else f"{value:.3g}"


def milliseconds(value: float, beside: float | None = None) -> str:
    """Write a time in ms, with two decimals below 100 ms and none from a second on."""
    size = abs(value if beside is None else beside)
    decimals = 2 if size < 100 else 1 if size < 1000 else 0
    return f"{value:.{decimals}f}" if size < 1e7 else f"{value:.3g}"


def epochs(value: float, beside: float | None = None) -> str:
    """Write epochs with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:.3g}"
