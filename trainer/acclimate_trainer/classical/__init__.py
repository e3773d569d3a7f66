"""Ceilings and classical baselines of the discrete families: what RL² is measured against."""
