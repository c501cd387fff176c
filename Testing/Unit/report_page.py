"""A report's page as a browser takes it in: its tags with their attributes, and its text."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """The page of a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def assert_one_file(self, pictures: int) -> None:
        """So many pictures, each within the page and with words for it; nothing is fetched or run."""
        found = [attributes for tag, attributes in self.tags if tag == "img"]
        assert len(found) == pictures
        assert all(p["src"].startswith("data:image/png;base64,") and p["alt"] for p in found)
        assert not any(tag in ("script", "link", "iframe") for tag, _ in self.tags)
        assert not any("http" in str(attributes.get(key)) for _, attributes in self.tags for key in ("src", "href"))
