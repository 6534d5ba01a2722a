"""A discrete-event simulation of a planned fleet, at the granularity of engine iterations.

It shares the physics of one pass with the planner and nothing else: no queueing formula is used
here, so that it can tell where one is wrong.
"""
