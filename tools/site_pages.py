"""Make the documentation site of docs/: the changelog as a page, and what reads otherwise there than beside its files.

MkDocs calls these functions, as `hooks` in mkdocs.yml says.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

CHANGELOG = Path(__file__).parent.parent / "CHANGELOG.md"
IN_THE_SITE = {"../README.md": "index.md", "../CHANGELOG.md": "changelog.md"}
"""What a link out of docs/ leads to in the site; any other ends a strict build."""


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the changelog as a page, which search names after the others."""
    from mkdocs.structure.files import File

    text = f"---\nsearch: {{boost: 0.2}}\n---\n{CHANGELOG.read_text(encoding='utf-8')}"
    files.append(File.generated(config, "changelog.md", content=text))
    return files


def on_page_markdown(markdown: str, page: "Page | None", config: "MkDocsConfig | None", files: "Files") -> str:
    """Point links out of docs/ to their page, and call a page by its title where a link has the name of its file."""
    for link, target in IN_THE_SITE.items():
        markdown = markdown.replace(f"]({link})", f"]({target})")

    def titled(link: re.Match[str]) -> str:
        file = files.get_file_from_path(link[1])
        return f"[{file.page.title}]({link[1]}" if file and file.page else link[0]

    markdown = re.sub(r"\[\w+\.md\]\((\w+\.md)(?=[#)])", titled, markdown)
    return re.sub(r"^\|.*\|$", lambda row: _row(row[0]), markdown, flags=re.MULTILINE)


def _row(row: str) -> str:
    r"""Write a row of a table as Python-Markdown reads it, a bare `|` in code for `\|`, and keep `->` in one piece."""
    parts = row.split("`")
    plain, code = [part.replace("->", "-&NoBreak;>") for part in parts[::2]], parts[1::2]
    parts[::2], parts[1::2] = plain, [part.replace(r"\|", "|") for part in code]
    return "`".join(parts)
