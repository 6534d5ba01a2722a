"""Workloads fitted to recorded traces: arrivals, and lengths as they go together."""

from pdplan.specs.trace_fit.fit import TraceFit, fit_trace
from pdplan.specs.trace_fit.workload_text import lengths_csv, workload_of, workload_yaml

__all__ = ["TraceFit", "fit_trace", "lengths_csv", "workload_of", "workload_yaml"]
