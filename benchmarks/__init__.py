"""What Acclimate promises in numbers, measured: one module here is one benchmark, with

    def run(seed: int) -> Mapping[str, Figure]

`python -m benchmarks NAME` runs it and writes results/NAME.json.
"""
