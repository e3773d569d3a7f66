"""Roll-outs in compiled C: the tick of a policy on a session, and its adjoint, traced once and compiled.

    leaves, anatomy    a session taken apart: what its step carries on, keeps, and draws
    trace              a tick, and its vector-Jacobian product, as graphs of torch's operators
    elements … program operators as single numbers, without what nothing needs
    loops, emit        numbers as loops over lanes again, and as C
    source, *.c        the loops over ticks and episodes around it
    build, kernel      the machine's compiler; the library as a function that torch differentiates
    rollout, driving   roll-outs in it, compared with torch's where they are new

docs/training_speed.md says how it works and what a family has to keep to.
"""
