"""The demo: a real MR volume, eight annotated slices, a dense segmentation and its picture."""
