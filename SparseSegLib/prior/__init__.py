"""The annotation prior: what the labels of the other slices say about a slice, as input channels for a network."""

from SparseSegLib.prior.annotation_prior import PRIOR_PARTS, USUAL_PARTS, AnnotationPrior
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import PlaneSource, ScribbleSource, sources_of

__all__ = ["PRIOR_PARTS", "USUAL_PARTS", "AnnotationPrior", "PlaneSource", "ScribbleSource", "SliceView", "sources_of"]
