"""What the paper shows, from records and specifications alone: tables, numbers and figures.

Nothing here trains, and nothing that trains reads from here.
"""

# The profile whose runs the paper shows beside those that it is built from: many passes over few images.
BESIDE = "tenth"
