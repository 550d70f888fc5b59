"""Make the documentation site of docs/: the changelog as a page, and links that read well away from their files.

MkDocs calls these functions, as `hooks` in mkdocs.yml says.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

CHANGELOG = Path(__file__).parent.parent / "CHANGELOG.md"
IN_THE_SITE = {"../README.md": "index.md", "../CHANGELOG.md": "changelog.md"}
"""What a link out of docs/ leads to in the site; any other ends a strict build."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog as a page."""
    files.append(File.generated(config, "changelog.md", content=CHANGELOG.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links out of docs/ to their page, and call a page by its title where a link has the name of its file."""
    for link, target in IN_THE_SITE.items():
        markdown = markdown.replace(f"]({link})", f"]({target})")

    def titled(link: re.Match[str]) -> str:
        file = files.get_file_from_path(link[1])
        return f"[{file.page.title}]({link[1]}" if file and file.page else link[0]

    return re.sub(r"\[\w+\.md\]\((\w+\.md)(?=[#)])", titled, markdown)
