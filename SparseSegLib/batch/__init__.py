"""One model on many cases: here or on a cluster, results and a report in one folder, interrupted runs resume."""

from SparseSegLib.batch.case import BatchCase, named_cases
from SparseSegLib.batch.manifest import Manifest
from SparseSegLib.batch.report import write_report

__all__ = ["BatchCase", "Manifest", "named_cases", "write_report"]
