"""Pages as a reader has them: text, tables and elements, parsed by the standard library."""

from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})
SELF_CLOSED = frozenset({"path", "use", "circle"})


class Page(HTMLParser):
    """The elements and the visible text of a page; fails where tags don't match."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.words, self.rows = [], [], [], {}
        self._open, self._cell, self._row = [], None, None
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self._row = []
        if tag in ("td", "th"):
            self._cell = []

    def handle_startendtag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open[-1] == tag, f"</{tag}> where {self._open[-1]} is open"
        self._open.pop()
        if tag in ("td", "th"):
            self._row.append("".join(self._cell))
            self._cell = None
        if tag == "tr" and self._row:
            self.rows.setdefault(self._row[0], self._row[1:])

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data)
            # What only phones show repeats what stands beside it.
            if self._cell is not None and not self._hidden:
                self._cell.append(data)

    @property
    def _hidden(self):
        return self._open[-1] == "span" and ("span", {"class": "with"}) in self.attributes[-1:]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def ids(self):
        return [one["id"] for tag, one in self.attributes if tag == "section"]
