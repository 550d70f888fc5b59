"""Builds what a package index gets of a commit: the sdist, and from the sdist the wheel.

    python tools/release.py                                    links of the README as they stand
    python tools/release.py https://github.com/OWNER/bnexp     links and images absolute, that address in the metadata

It writes dist/. A package index shows the README alone: a relative link there leads nowhere, and an image is missing.
"""

import ast
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!\w+:|#)(?P<path>[^)\s]+)\)")
_BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


class Built(NamedTuple):
    """The two files of a release."""

    sdist: Path
    wheel: Path


def main(repository: str | None = None) -> None:
    """Build the commit that is checked out, into dist/."""
    out = ROOT / "dist"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source, packed = Path(folder) / "source", Path(folder) / "source.tar"
        _run(["git", "-C", str(ROOT), "archive", "--output", str(packed), "HEAD"], ROOT)
        _unpack(packed, source)
        if repository:
            name_repository(source, repository.rstrip("/"))
        for file in build(source, out):
            print(file.relative_to(ROOT))


def build(source: Path, out: Path) -> Built:
    """Build the sdist of a source tree, in which setuptools leaves its traces, and the wheel of that sdist."""
    sdist = out / built("build_sdist", source, out)
    with tempfile.TemporaryDirectory() as folder:
        _unpack(sdist, Path(folder))
        (unpacked,) = Path(folder).iterdir()
        return Built(sdist, out / built("build_wheel", unpacked, out))


def name_repository(source: Path, repository: str) -> None:
    """Make links of the README absolute, of GitHub's form, and name the repository in the metadata."""
    tag = f"v{version(source)}"
    readme, project = source / "README.md", source / "pyproject.toml"
    readme.write_text(absolute_links(readme.read_text(encoding="utf-8"), repository, tag), encoding="utf-8")
    urls = {
        "Homepage": repository,
        "Documentation": f"{repository}/tree/{tag}/docs",
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
    lines = ["", "[project.urls]", *(f'{name} = "{url}"' for name, url in urls.items()), ""]
    project.write_text(project.read_text(encoding="utf-8") + "\n".join(lines), encoding="utf-8")


def absolute_links(text: str, repository: str, tag: str) -> str:
    """Return Markdown in which links and images that were relative to the repository lead there from anywhere."""

    def absolute(link: re.Match[str]) -> str:
        kind = "raw" if link["image"] else "blob"
        return f"{link['image']}[{link['text']}]({repository}/{kind}/{tag}/{link['path']})"

    return _LINK.sub(absolute, text)


def version(source: Path = ROOT) -> str:
    """Return the version, which stands in bnexp/__init__.py and nowhere else."""
    for node in ast.parse((source / "bnexp" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("bnexp/__init__.py: no __version__")


def built(step: str, source: Path, out: Path) -> str:
    """Return the name of the file that a step of the build made."""
    return _run([sys.executable, "-c", _BUILD, step, str(out.resolve())], source).splitlines()[-1]


def _run(command: list[str], folder: Path) -> str:
    # S603: a whole list of arguments, made here, and no shell.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:2])} failed:\n{done.stderr}")
    return done.stdout


def _unpack(packed: Path, folder: Path) -> None:
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")


if __name__ == "__main__":
    main(*sys.argv[1:2])
