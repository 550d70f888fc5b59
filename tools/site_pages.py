"""Give the documentation site what lies outside docs/: the changelog, and a page for each link to a file above it."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
IN_THE_SITE = {"../README.md": "index.md", "../CHANGELOG.md": "changelog.md"}
"""What a link out of docs/ leads to in the site; any other ends a strict build."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog as a page."""
    files.append(File.generated(config, "changelog.md", content=(ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links out of docs/ to their page."""
    for link, target in IN_THE_SITE.items():
        markdown = markdown.replace(f"]({link})", f"]({target})")
    return markdown
