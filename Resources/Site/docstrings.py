"""How the project's docstrings differ from numpydoc: "name : what it is", where the type stands in the signature."""

from __future__ import annotations

import griffe

SECTIONS = (griffe.DocstringSectionParameters, griffe.DocstringSectionAttributes)


class WordsAreNoTypes(griffe.Extension):
    """Takes words after a name for its description, unless they are a type or something else describes it."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Mend the sections of an object's docstring."""
        sections = obj.docstring.parsed if obj.docstring is not None else []
        for section in sections:
            for entry in section.value if isinstance(section, SECTIONS) else ():
                words, more = entry.annotation, entry.description
                if isinstance(words, str) and not more[:1].isupper():  # the words go on in the next line, or end there
                    entry.description, entry.annotation = f"{words} {more}".strip(), None
