"""How the project's docstrings differ from numpydoc: "name : what it is" where types stand in the signature."""

from __future__ import annotations

import griffe

SECTIONS = (griffe.DocstringSectionParameters, griffe.DocstringSectionAttributes)


class WordsAreNoTypes(griffe.Extension):
    """Takes the text after a name for its description where nothing else describes it."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Mend the sections of an object's docstring."""
        if obj.docstring is None:
            return
        for section in obj.docstring.parse("numpy", warnings=False):
            if isinstance(section, SECTIONS):
                for entry in section.value:
                    _mend(entry)


def _mend(entry: griffe.DocstringElement) -> None:
    if not entry.description and entry.annotation is not None:
        entry.description, entry.annotation = str(entry.annotation), None
