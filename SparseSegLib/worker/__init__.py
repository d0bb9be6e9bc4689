"""The worker process: ``python -m SparseSegLib.worker JOBDIR``. Only here is torch imported for a job."""
