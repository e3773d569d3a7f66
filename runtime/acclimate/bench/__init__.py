"""How fast, how large and how soon: what `acclimate bench` measures, each engine in a process of its own."""
