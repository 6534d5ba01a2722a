"""Pools of identical instances under load: stage times and queueing joined, column by column.

A column is one way to build a pool: hardware, parallelism, number formats, batch limit and the
number of instances, with the load, the waits and the latencies that follow at exactly that size.
"""
