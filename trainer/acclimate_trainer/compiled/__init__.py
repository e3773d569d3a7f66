"""Roll-outs in compiled C: the tick of a policy on a session, traced once and compiled with its adjoint.

    leaves, anatomy, parts  a session taken apart: what its step carries on, keeps, and draws
    ride, rollout           what is to be driven; roll-outs of one kind, whose tick is compiled
    rows                    a gradient summed over rows, with the one through it
    driving, comparison     those that were compiled, compared with torch's where they are new; why others were not
    stopwatch               how long that took
    ticks/                  from a tick to C

docs/training_speed.md says how it works, and what a family has to keep to.
"""
