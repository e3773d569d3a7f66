"""Ceilings and classical algorithms of the discrete families: what the learned policies are measured against."""
