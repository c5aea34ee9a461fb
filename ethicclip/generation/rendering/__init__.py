"""From findings to pixels: geometry in micrometres first, then a photograph of it."""
