"""What the paper shows: tables, numbers and figures, from records and specifications; nothing here trains."""
