"""Our captured step and its peers, step for step the same work: what the comparisons are made of.

`candidates.step_of("torch fused", "W2")` builds one step in this process; `comparing.compare` asks
several, each in a process of its own, in turn. Nothing heavy is imported before it is needed.
"""
