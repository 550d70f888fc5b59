"""Measure the house: how long files and functions are, who imports whom, and what stands in a circle.

    python tools/measure_house.py [PACKAGE]

Prints a figure a line, then the files that a budget of docs/architecture.md names.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

SHORT, LONG, TOO_LONG = 35, 40, 60
"""Lines: a file below the first is short, a function above the others long, or too long."""
DOORS = ("cli.py", "commands/")
"""What imports a file only to hand it on to people: one importer there is as it should be."""


@dataclass(frozen=True)
class Function:
    """A function, and the lines from its `def` to its end."""

    place: str
    lines: int
    annotated: bool


def python_files(package: Path) -> dict[str, Path]:
    """Return the modules of a package by their dotted names, without empty `__init__.py`."""
    return {
        ".".join((package.name, *path.relative_to(package).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in sorted(package.rglob("*.py"))
        if path.name != "__init__.py" or path.read_text().strip()
    }


def functions_in(path: Path, package: Path) -> Iterator[Function]:
    """Yield every function and method of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            untyped = [one for one in arguments if one.annotation is None and one.arg not in ("self", "cls")]
            place = f"{path.relative_to(package)}:{node.lineno} {node.name}"
            yield Function(place, (node.end_lineno or 0) - node.lineno + 1, not untyped and node.returns is not None)


def imports_of(module: str, path: Path, modules: dict[str, Path], *, lazy: bool) -> set[str]:
    """Return the modules of the package that a module imports, `lazy` also inside functions."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & modules.keys()) - {module}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that reach each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            at = stack.index(module)
            circle = stack[at:]
            del stack[at:]
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in graph:
        if module not in index:
            visit(module)
    return found


def is_counted(module: str, importer: str) -> bool:
    """Tell whether a file with one importer counts: not where a registry or a command is what imports it."""
    rest = importer.partition(".")[2].replace(".", "/") + ".py"
    return not rest.endswith("registry.py") and not rest.startswith(DOORS) and not module.endswith(("cli", "__main__"))


@dataclass(frozen=True)
class House:
    """What was measured of a package.

    Attributes:
        lines: of each module.
        functions: all of them.
        single: modules with one importer, and which that is.
        circles: modules that import each other.
    """

    lines: dict[str, int]
    functions: list[Function]
    single: dict[str, str]
    circles: list[list[str]]

    @property
    def short(self) -> dict[str, int]:
        """Modules under the length that usually holds an idea."""
        return {name: count for name, count in self.lines.items() if count < SHORT and not name.endswith("__main__")}

    def longer_than(self, limit: int) -> list[Function]:
        """Return the functions of more lines, the longest first."""
        return sorted((one for one in self.functions if one.lines > limit), key=lambda one: -one.lines)


def measure(package: Path) -> House:
    """Measure a package."""
    modules = python_files(package)
    importers: dict[str, set[str]] = defaultdict(set)
    for module, path in modules.items():
        for other in imports_of(module, path, modules, lazy=True):
            importers[other].add(module)
    return House(
        lines={module: len(path.read_text().splitlines()) for module, path in modules.items()},
        functions=[function for path in modules.values() for function in functions_in(path, package)],
        single={
            module: next(iter(who))
            for module, who in importers.items()
            if len(who) == 1 and is_counted(module, next(iter(who)))
        },
        circles=circles({module: imports_of(module, path, modules, lazy=False) for module, path in modules.items()}),
    )


def main() -> None:
    """Print the figures, then what stands behind them."""
    house = measure(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "bnexp").resolve())
    lines, lengths = house.lines.values(), [function.lines for function in house.functions]
    long = house.longer_than(LONG)
    annotated = sum(function.annotated for function in house.functions) / len(lengths)
    print(f"lines                            {sum(lines):,} in {len(lines)} files")
    print(f"lines a file, median / largest   {median(lines):.0f} / {max(lines)}")
    print(f"files under {SHORT} lines             {len(house.short)}")
    print(f"files with one importer          {len(house.single)}")
    print(f"lines a function, median / 90th  {median(lengths):.0f} / {quantiles(lengths, n=10)[-1]:.0f}")
    print(f"functions over {LONG} lines          {len(long)} of {len(lengths)}, {len(long) / len(lengths):.1%}")
    print(f"functions over {TOO_LONG} lines          {len(house.longer_than(TOO_LONG))}")
    print(f"functions with annotations       {annotated:.1%}")
    print(f"import circles                   {len(house.circles)}")
    for title, named in (
        (f"files under {SHORT} lines", [f"{count:>4} {module}" for module, count in sorted(house.short.items())]),
        ("files with one importer", [f"{module} <- {importer}" for module, importer in sorted(house.single.items())]),
        (f"functions over {LONG} lines", [f"{function.lines:>4} {function.place}" for function in long]),
        ("import circles", [" ".join(circle) for circle in house.circles]),
    ):
        print(f"\n{title}:", *(named or ["none"]), sep="\n  ")


if __name__ == "__main__":
    main()
