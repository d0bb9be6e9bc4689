"""The annotation prior: input channels for a network, computed from the labels of the other slices."""

from SparseSegLib.prior.annotation_prior import PRIOR_PARTS, USUAL_PARTS, AnnotationPrior
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import PlaneSource, ScribbleSource, sources_of

__all__ = ["PRIOR_PARTS", "USUAL_PARTS", "AnnotationPrior", "PlaneSource", "ScribbleSource", "SliceView", "sources_of"]
