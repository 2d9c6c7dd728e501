"""Elements of a page, whose texts and attributes are escaped by what writes them."""

import base64
from xml.etree.ElementTree import Element, SubElement, tostring

Child = Element | str | None


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """An element of HTML or SVG.

    Args:
        tag: its name.
        children: texts and elements; None is none.
        attributes: their names, with `_` for `-` and `class_` for `class`; None is
            left out.

    Example:
        >>> as_html(element("p", "1 < 2 ", element("b", "so"), class_="a"))
        '<p class="a">1 &lt; 2 <b>so</b></p>'
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), str(value))
    append(made, *children)
    return made


def append(parent: Element, *children: Child) -> None:
    """Add texts and elements at the end of an element."""
    for child in children:
        if isinstance(child, Element):
            parent.append(child)
        elif child is not None and len(parent):
            parent[-1].tail = (parent[-1].tail or "") + child
        elif child is not None:
            parent.text = (parent.text or "") + child


def as_html(root: Element) -> str:
    """The text of an element and all in it."""
    return tostring(root, encoding="unicode", method="html")


def table(
    caption: str, head: list[str], rows: list[list[Child]], class_: str | None = None
) -> Element:
    """A table whose first column names its rows; it scrolls where it is too wide."""
    made = element("table", element("caption", caption), class_=class_)
    columns = [element("th", text, scope="col") for text in head]
    SubElement(made, "thead").append(element("tr", *columns))
    body = SubElement(made, "tbody")
    for first, *others in rows:
        cells = [element("td", cell) for cell in others]
        body.append(element("tr", element("th", first, scope="row"), *cells))
    return scrolling(made, caption)


def scrolling(child: Element, label: str) -> Element:
    """What scrolls sideways where it is too wide, by keys as well."""
    return element(
        "div", child, class_="wide", tabindex="0", role="region", aria_label=label
    )


def embedded(data: bytes, kind: str) -> str:
    """An address that holds the bytes of a picture: "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
