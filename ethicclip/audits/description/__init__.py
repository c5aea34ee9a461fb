"""What an image is described by: local features that tell eyes apart, and pixels that find near-exact copies."""
