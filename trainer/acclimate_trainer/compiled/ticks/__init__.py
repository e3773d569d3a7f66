"""From a tick, a function of tensors that hands what is carried to the next, to C that runs many of them.

trace               the tick, and its vector-Jacobian product, as graphs of torch's operators
lowering, elements  graphs as single numbers, by a row for each operator (operators, pointwise, products)
program, loops      what anything needs of them; numbers in a row as loops again
emit, source, c/    loops as C, and what runs them over ticks and episodes
build, kernel       the machine's compiler; its library as a function that torch differentiates
tick                all of that, for who has a tick
"""
