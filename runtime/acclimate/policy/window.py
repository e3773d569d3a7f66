"""Where `Episode` and `Window` were: see `acclimate.task.episode`."""

from acclimate.task.episode import Episode as Episode
from acclimate.task.episode import Window as Window
