# %% [markdown]
# # A first result in a notebook
#
# White matter in a part of a T1 MR volume, from eight annotated slices. This file is a notebook in percent format:
# VS Code, Spyder and PyCharm run its cells as it is, and `jupytext --to ipynb first-result.py` makes an `.ipynb` of it.
#
# It needs `pip install "SparseSegLib[notebook]"`.

# %%
from SparseSegLib.annotation import sparsify
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.evaluation import evaluate
from SparseSegLib.io import read_labels, read_volume
from SparseSegLib.notebook import plot, progress_bar
from SparseSegLib.resources import sample_data

# %% [markdown]
# The sample volume comes with SparseSeg. Your own is `nibabel.load("t1.nii.gz")`, `SimpleITK.ReadImage("t1.nrrd")` or
# an array: all of them are taken as they are.

# %%
volume = read_volume(sample_data("mni152_t1.nrrd"))
truth, _, _ = read_labels(sample_data("mni152_white_matter.nrrd"))
z, y, x = (slice(size // 2 - 24, size // 2 + 24) for size in truth.shape)
volume, truth = volume.crop((z, y, x)), truth[z, y, x]

# %% [markdown]
# Here the known white matter stands for what you would outline: on three axial, three coronal and two sagittal slices.

# %%
drawn = sparsify(truth, volume.geometry, (3, 3, 2), ("white matter",))
plot(volume, drawn.array * (drawn.array == 1))

# %%
result = densify(volume, drawn, DensifySettings(budget_seconds=20), progress_bar())
plot(volume, result)

# %% [markdown]
# How well it agrees with the truth off the annotated slices:

# %%
scores = evaluate(result.labels, truth, volume.geometry, mask=~drawn.labeled)
print(f"IoU {scores[0].iou:.3f}, estimated from held-out slices: {result.estimate:.3f}")
