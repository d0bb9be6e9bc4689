"""3D Slicer's terminology entries as DICOM codes, and back."""

from __future__ import annotations

from dataclasses import dataclass

_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGION_CONTEXT = "Anatomic codes - DICOM master list"
_PARTS = 7  # of an entry, of which the first and the fifth name the lists that the codes are from


@dataclass(frozen=True)
class Code:
    """A concept of a coding scheme.

    Attributes
    ----------
    scheme : which scheme, such as "SCT" (SNOMED CT)
    value : its code
    meaning : what people call it
    """

    scheme: str
    value: str
    meaning: str


TISSUE = Code("SCT", "85756007", "Tissue")  # what Slicer too calls a segment that nobody said more about


@dataclass(frozen=True)
class Terminology:
    """The terminology of a segment.

    Attributes
    ----------
    category, type : such as "Anatomical Structure" and "Kidney"
    modifier : of the type, such as "Left", or None
    region, region_modifier : where in the body, or None
    """

    category: Code = TISSUE
    type: Code = TISSUE
    modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None


def parse_terminology(entry: str) -> Terminology:
    """Parse an entry of a .seg.nrrd; tissue where it is empty or makes no sense."""
    parts = [*entry.split("~"), *[""] * _PARTS]
    category, kind, modifier, region, region_modifier = (_code(parts[index]) for index in (1, 2, 3, 5, 6))
    return Terminology(category or TISSUE, kind or category or TISSUE, modifier, region, region and region_modifier)


def _code(text: str) -> Code | None:
    parts = [part.strip() for part in text.split("^")]
    return Code(*parts) if len(parts) == 3 and all(parts) else None


def format_terminology(terminology: Terminology) -> str:
    """Return the entry that 3D Slicer writes for it."""
    codes = (terminology.category, terminology.type, terminology.modifier)
    regions = (terminology.region, terminology.region_modifier)
    return "~".join([_CONTEXT, *map(_text, codes), _REGION_CONTEXT, *map(_text, regions)])


def _text(code: Code | None) -> str:
    parts = (code.scheme, code.value, code.meaning) if code else ("", "", "")
    return "^".join(part.replace("^", " ").replace("~", " ").replace("|", " ") for part in parts)
