"""`Panel`: what all panels have in common, as a widget and as the picture that stands below it.

A notebook that is saved has the picture, too: it is shown where the widget's kernel is gone. Nothing here knows what a panel shows.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import anywidget
import traitlets

__all__ = ["Panel"]


class Panel(anywidget.AnyWidget):
    """A widget whose page keeps it up to date until what it shows is over.

    Attributes:
        twin: identifies the picture below the panel, which is hidden while the panel is there.
        sent_bytes: the approximate size of the messages that the last `refresh` sent.
    """

    twin = traitlets.Unicode("").tag(sync=True)

    sent_bytes = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(twin=uuid4().hex, **options)

    @property
    def is_open(self) -> bool:
        """False once the widget was closed."""
        return self.comm is not None

    def below(self, picture: str) -> str:
        """The HTML of the picture below the panel."""
        return f'<div data-rnb-of="{self.twin}">{picture}</div>'

    def unless_gone(self) -> str:
        """Style that hides JupyterLab's "Error displaying widget: model not found" above that picture.

        A notebook that is opened without its kernel has both: the error, in a node that is marked as a widget but contains none, and
        the picture, whose heading includes its time.
        """
        child = ".jp-OutputArea-child"
        error = f"{child}:has(> .jupyter-widgets):not(:has(.rnb-run))"  # one `:has` within another is no CSS
        return f'<style>{error}:has(+ {child} [data-rnb-of="{self.twin}"]) {{ display: none }}</style>'
