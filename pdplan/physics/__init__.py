"""Time and memory of one pass on one instance: plain functions on scalars or arrays.

Nothing here knows a spec, a pool or a queue; units are in the names, arrays broadcast.
"""
