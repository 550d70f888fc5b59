"""Pages that lead to each other: an index in the order of reading, and links between neighbors that lead somewhere."""

import re

from bnexp.document.site import Chapter, site_pages
from bnexp.document.values import Heading, Text

SEE = "See `bnexp explain b`, `bnexp explain nothing` and `bnexp train b`."
CHAPTERS = {
    name: Chapter([Heading(f"{name}: <title>", 1), Text(SEE)], f"what {name} & co. answer") for name in ("a", "b", "c")
}
PAGES = dict(site_pages("A <site>", CHAPTERS, "bnexp explain --all"))


def links(page: str) -> list[str]:
    return re.findall(r'<a [^>]*?href="([^"]+)"', PAGES[page])


def test_the_index_lists_all_in_the_order_of_reading_with_a_line_each() -> None:
    assert list(PAGES) == ["index.html", "a.html", "b.html", "c.html"]
    assert links("index.html") == ["a.html", "b.html", "c.html"]
    assert "<h1>A &lt;site&gt;</h1>" in PAGES["index.html"]
    assert "what b &amp; co. answer" in PAGES["index.html"]


def test_each_page_leads_to_its_neighbors_above_and_below_its_text() -> None:
    around = {"a.html": ["b.html"], "b.html": ["a.html", "c.html"], "c.html": ["b.html"]}
    for page, neighbors in around.items():
        above, below = links(page)[: 1 + len(neighbors)], links(page)[-1 - len(neighbors) :]
        assert above == below == ["index.html", *neighbors]
        assert {*links(page)} <= {*PAGES}


def test_a_command_that_explains_a_chapter_leads_to_it() -> None:
    assert '<a href="b.html"><code>bnexp explain b</code></a>, <code>bnexp explain nothing</code>' in PAGES["a.html"]
