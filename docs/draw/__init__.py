"""All pictures of these pages: `make pictures`, or `python -m docs.draw [NAME …]`."""
