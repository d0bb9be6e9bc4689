"""The client: start a job in a process of its own, receive its events, control it. Standard library only, no Qt."""

from SparseSegLib.jobs.job import Job
from SparseSegLib.jobs.process import WorkerProcess, start_worker
from SparseSegLib.protocol import write_job

__all__ = ["Job", "WorkerProcess", "start_worker", "write_job"]
