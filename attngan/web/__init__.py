"""The page that `attngan serve` shows, and the HTTP interface beneath it."""
