"""A discrete-event simulation of a planned fleet, at the granularity of engine iterations.

It shares the physics of one pass with the planner and nothing else: no queueing formula is used
here, so that it can tell where one is wrong.

- The host delays a request and is never busy. Encode instances take one request at a time.
- Prefill instances run passes back to back over waiting prompts, first come first served, up to
  the token budget; a prompt that does not fit is cut and goes on first. A pass of a pipeline
  lasts its whole traversal, the next may start after its first stage.
- Each end of a hop carries one transfer at a time; KV may leave layer by layer.
- Decode instances run steps back to back; joining and leaving happen at step ends. A request is
  admitted when the batch and the cache have room for it and one more step of all. Where a step
  has no room the request admitted last loses its cache and computes it again.
- Colocated instances carry prompts in chunks on decode steps, in passes of their own before them,
  or in groups of layers.

Not simulated: failures, eviction from the prefix cache (what is cached is given with a prompt) and
caches kept between turns; a central queue before a decode pool (a cache has to be sent to one
instance, which is then the least loaded one).

`run.run` runs a `model.FleetModel`; `build` makes its laws and prompts from hardware and model.
"""
