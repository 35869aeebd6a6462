"""One file, one method: its loss on top, its module below."""
