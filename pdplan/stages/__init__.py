"""The stages of a request on candidate instances: encode, prefill, decode and transfers.

A stage turns specs into numbers, calls physics, and returns times per candidate and support point.
"""
