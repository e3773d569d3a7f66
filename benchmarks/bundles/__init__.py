"""How the bundles in examples/bundles/ are made: `make bundles`, or `make bundles NAME=servo_wide_rl2`."""
