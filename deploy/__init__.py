"""Ways to run Weir: `local` on one machine without containers; the other folders hold configuration, no Python."""
