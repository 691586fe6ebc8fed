"""What the paper shows, from records and specifications alone: tables, numbers and figures.

Nothing here trains, and nothing that trains reads from here.
"""
