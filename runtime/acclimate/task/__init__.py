"""What a machine is and what it is for, as values that every part reads: no torch, no code of the family's."""
