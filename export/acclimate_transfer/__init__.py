"""The verb `transfer`: what policies that were trained on one family know of another, after 0, 1 and some shots."""
