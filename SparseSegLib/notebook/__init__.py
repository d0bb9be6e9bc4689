"""For notebooks: pictures of images and results, and progress bars. matplotlib and tqdm are imported when needed."""

from SparseSegLib.notebook.picture import plot
from SparseSegLib.notebook.progress import progress_bar

__all__ = ["plot", "progress_bar"]
